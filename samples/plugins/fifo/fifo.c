/* A channel that writes messages to a line with one reader at its far end, such as a serial port or, here, a FIFO.
 *
 * Each message goes as one frame: a head in lines, an empty line, and so many octets of content in wire form.
 *
 *     MESSAGE 0000000000000A41 1234
 *     FROM ann@hub.example
 *     TO fred@far.example
 *     (empty line, then 1234 octets)
 *
 * The line may take an octet at a time, or none for long: what is written is written in parts, and no longer than TIMEOUT
 * seconds without any progress, nor beyond the deadline that the hub gives. A frame that was broken off ends with the line
 * being closed; its message waits and goes again, whole.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sluice.h"

struct line {
    const sluice_host *host;
    const sluice_channel *handle;
    char *device;
    int timeout_ms;
    /* Written to by stop, so that a worker which waits for the line wakes up. Never read: it stays readable. */
    int wake[2];
    /* One message at a time goes down the line, however many workers there are. */
    pthread_mutex_t turn;
};

/* Why a message was not written. */
enum trouble { NONE, STOPPED, LATE, NOBODY, BROKEN };

static sluice_text text(const char *from) {
    sluice_text made = { (const uint8_t *)from, strlen(from) };
    return made;
}

static int is(sluice_text one, const char *other) {
    return one.len == strlen(other) && memcmp(one.data, other, one.len) == 0;
}

static int32_t give_up(struct line *line, const char *why, int32_t status) {
    line->host->explain(line->handle, text(why));
    free(line->device);
    free(line);
    return status;
}

static int32_t create(const sluice_host *host, const sluice_create *given, void **channel) {
    /* Whoever called this was built for another contract: nothing of it can be relied on, not even explain. */
    if (host->abi_version != SLUICE_ABI_VERSION || host->size < 88) {
        return SLUICE_STATUS_REFUSED;
    }
    const char *setting = (const char *)given->settings;
    struct line *line = calloc(1, sizeof *line);
    if (line == NULL) {
        return SLUICE_STATUS_FAILED;
    }
    line->host = host;
    line->handle = given->handle;
    line->timeout_ms = 30000;
    /* Settings are walked by the stride that the hub states, not by our sizeof: a newer hub may have longer ones. */
    for (size_t at = 0; at < given->setting_count; at++, setting += given->setting_size) {
        const sluice_setting *one = (const sluice_setting *)(const void *)setting;
        if (one->kind != SLUICE_SETTING_OPTION) {
            continue;
        }
        if (is(one->name, "DEVICE")) {
            free(line->device);
            line->device = strndup((const char *)one->value.data, one->value.len);
        } else if (is(one->name, "TIMEOUT")) {
            int seconds = 0;
            for (size_t digit = 0; digit < one->value.len && seconds < 100000; digit++) {
                seconds = seconds * 10 + (one->value.data[digit] - '0');
            }
            line->timeout_ms = seconds * 1000;
        }
    }
    if (line->device == NULL) {
        return give_up(line, "DEVICE is missing: write DEVICE=/path of the line into the channel's option file",
                       SLUICE_STATUS_REFUSED);
    }
    if (pipe(line->wake) != 0) {
        return give_up(line, "no pipe can be had", SLUICE_STATUS_FAILED);
    }
    fcntl(line->wake[0], F_SETFD, FD_CLOEXEC);
    fcntl(line->wake[1], F_SETFD, FD_CLOEXEC);
    pthread_mutex_init(&line->turn, NULL);
    *channel = line;
    return SLUICE_STATUS_OK;
}

/* Writes all of it, in as many parts as the line wants. */
static enum trouble put(const struct line *line, int file, const sluice_worker *worker, uint64_t token, const void *octets,
                        size_t length) {
    const char *from = octets;
    while (length > 0) {
        ssize_t written = write(file, from, length);
        if (written > 0) {
            from += written;
            length -= (size_t)written;
            continue;
        }
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            return errno == EPIPE ? NOBODY : BROKEN;
        }
        struct pollfd wait[2] = { { file, POLLOUT, 0 }, { line->wake[0], POLLIN, 0 } };
        uint64_t left = line->host->deadline(worker, token);
        int time = left < (uint64_t)line->timeout_ms ? (int)left : line->timeout_ms;
        int ready = poll(wait, 2, time);
        if (ready < 0 && errno != EINTR) {
            return BROKEN;
        }
        if (wait[1].revents != 0) {
            return STOPPED;
        }
        if (ready == 0) {
            return LATE;
        }
        if ((wait[0].revents & (POLLERR | POLLNVAL)) != 0) {
            return NOBODY;
        }
    }
    return NONE;
}

static enum trouble put_text(const struct line *line, int file, const sluice_worker *worker, uint64_t token,
                             const char *before, sluice_text words) {
    enum trouble trouble = put(line, file, worker, token, before, strlen(before));
    if (trouble == NONE) {
        trouble = put(line, file, worker, token, words.data, words.len);
    }
    return trouble == NONE ? put(line, file, worker, token, "\r\n", 2) : trouble;
}

static enum trouble frame(const struct line *line, const sluice_worker *worker, const sluice_delivery *delivery) {
    const char *recipient = (const char *)delivery->recipients;
    uint64_t token = delivery->token;
    char size[32];
    enum trouble trouble = NONE;
    /* Without a reader a FIFO cannot be opened for writing, which is not our failure. */
    int file = open(line->device, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (file < 0) {
        return errno == ENXIO || errno == ENOENT ? NOBODY : BROKEN;
    }
    snprintf(size, sizeof size, " %llu\r\n", (unsigned long long)delivery->body_size);
    trouble = put(line, file, worker, token, "MESSAGE ", 8);
    if (trouble == NONE) {
        trouble = put(line, file, worker, token, delivery->id.data, delivery->id.len);
    }
    if (trouble == NONE) {
        trouble = put(line, file, worker, token, size, strlen(size));
    }
    if (trouble == NONE) {
        trouble = put_text(line, file, worker, token, "FROM ", delivery->sender);
    }
    for (size_t at = 0; trouble == NONE && at < delivery->recipient_count; at++, recipient += delivery->recipient_size) {
        const sluice_recipient *one = (const sluice_recipient *)(const void *)recipient;
        trouble = put_text(line, file, worker, token, "TO ", one->address);
    }
    if (trouble == NONE) {
        trouble = put(line, file, worker, token, "\r\n", 2);
    }
    for (size_t at = 0; trouble == NONE && at < delivery->piece_count; at++) {
        trouble = put(line, file, worker, token, delivery->pieces[at].data, delivery->pieces[at].len);
    }
    if (close(file) != 0 && trouble == NONE) {
        trouble = BROKEN;
    }
    return trouble;
}

static void deliver(struct line *line, const sluice_worker *worker, const sluice_delivery *delivery) {
    static const char *const words[] = {
        "written to the line", "the channel was stopped", "the line takes nothing", "nobody is at the other end",
        "the line is broken",
    };
    const char *recipient = (const char *)delivery->recipients;
    pthread_mutex_lock(&line->turn);
    enum trouble trouble = frame(line, worker, delivery);
    pthread_mutex_unlock(&line->turn);
    for (size_t at = 0; at < delivery->recipient_count; at++, recipient += delivery->recipient_size) {
        sluice_outcome outcome = { 0 };
        outcome.size = sizeof outcome;
        outcome.kind = trouble == NONE ? SLUICE_OUTCOME_DELIVERED : SLUICE_OUTCOME_DEFERRED;
        outcome.class_ = trouble == NONE ? 2 : 4;
        outcome.subject = trouble == NONE ? 0 : 4;
        outcome.detail = trouble == NONE ? 0 : 1;
        outcome.text = text(words[trouble]);
        line->host->settle(worker, delivery->token, ((const sluice_recipient *)(const void *)recipient)->index, &outcome);
    }
    line->host->finish(worker, delivery->token);
}

static int32_t run(void *channel, const sluice_worker *worker) {
    struct line *line = channel;
    const sluice_delivery *delivery = NULL;
    sigset_t pipe_signal;
    /* A reader that goes away must not end the hub: the signal is kept from this thread, and write says EPIPE. */
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
    for (;;) {
        switch (line->host->next(worker, 60000, &delivery)) {
        case SLUICE_NEXT_DELIVERY:
            deliver(line, worker, delivery);
            break;
        case SLUICE_NEXT_STOP:
            return SLUICE_STATUS_OK;
        default:
            break;
        }
    }
}

static void stop(void *channel) {
    const struct line *line = channel;
    ssize_t written = write(line->wake[1], "s", 1);
    (void)written;
}

static void destroy(void *channel) {
    struct line *line = channel;
    close(line->wake[0]);
    close(line->wake[1]);
    pthread_mutex_destroy(&line->turn);
    free(line->device);
    free(line);
}

static const sluice_option_spec options[] = {
    { .name = SLUICE_TEXT("DEVICE"), .kind = SLUICE_OPTION_PATH, .help = SLUICE_TEXT("The line: a FIFO or a serial port.") },
    { .name = SLUICE_TEXT("TIMEOUT"),
      .kind = SLUICE_OPTION_SECONDS,
      .default_ = SLUICE_TEXT("30"),
      .help = SLUICE_TEXT("How long the line may take nothing before the message waits for another attempt.") },
};

SLUICE_EXPORT const sluice_plugin_table sluice_plugin = {
    .abi_version = SLUICE_ABI_VERSION,
    .size = sizeof(sluice_plugin_table),
    .name = SLUICE_TEXT("fifo"),
    .version = SLUICE_TEXT("1.0"),
    .description = SLUICE_TEXT("writes messages to a serial line or a FIFO"),
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .option_size = sizeof options[0],
    .create = create,
    .run = run,
    .stop = stop,
    .destroy = destroy,
};
