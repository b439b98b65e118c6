/* Channel plugin @NAME@: writes each message into a file of a folder, once for each recipient.
 *
 * Change write_message to whatever your channel does with a message. The contract is docs/internals/abi.md of Sluice;
 * sluice.h has its structures. What a worker does is in run.
 */
#include "sluice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a worker sits in one call for the next delivery. The hub wakes the wait by itself. */
#define WAIT_MS 60000u
/* Longest path of a file. */
#define PATH_BYTES 4096

/* One value for each configured channel; several workers use it at once, so nothing in it changes after create. */
struct channel {
    const sluice_host *host;
    char folder[PATH_BYTES / 2];
    unsigned long long most;
};

/* Texts of the hub have a length and no closing NUL. */
static bool is(sluice_text text, const char *word) {
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static sluice_text text_of(const char *text) {
    sluice_text made = { (const uint8_t *)text, strlen(text) };
    return made;
}

static const sluice_option_spec options[] = {
    {
        .name = SLUICE_TEXT("FOLDER"),
        .kind = SLUICE_OPTION_PATH,
        .flags = SLUICE_OPTION_FLAG_REQUIRED,
        .help = SLUICE_TEXT("Folder that messages are written into. It must be there. A relative path starts from the folder "
                            "of the configuration."),
    },
    {
        .name = SLUICE_TEXT("MOST"),
        .kind = SLUICE_OPTION_INTEGER,
        .default_ = SLUICE_TEXT("10000000"),
        .help = SLUICE_TEXT("Longest message, in bytes; a longer one is returned to its sender."),
        .min = 1000,
    },
};

/* Makes a channel of its settings. The hub has compared them with the table above. */
static int32_t create(const sluice_host *host, const sluice_create *given, void **made) {
    /* Whoever called this was built for another contract: nothing of it can be relied on, not even explain. */
    if (host->abi_version != SLUICE_ABI_VERSION || host->size < 88) {
        return SLUICE_STATUS_REFUSED;
    }
    struct channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL) {
        host->explain(given->handle, text_of("no memory"));
        return SLUICE_STATUS_FAILED;
    }
    channel->host = host;
    channel->most = 10000000;
    sluice_text base = { NULL, 0 }, folder = { NULL, 0 };
    for (size_t at = 0; at < given->setting_count; at++) {
        /* The distance from one setting to the next is the hub's to say: its structure may be larger than ours. */
        const sluice_setting *setting =
            (const sluice_setting *)((const char *)given->settings + at * given->setting_size);
        if (setting->kind == SLUICE_SETTING_FACT && is(setting->name, "folder"))
            base = setting->value;
        if (setting->kind == SLUICE_SETTING_OPTION && is(setting->name, "FOLDER"))
            folder = setting->value;
        if (setting->kind == SLUICE_SETTING_OPTION && is(setting->name, "MOST")) {
            char digits[32];
            snprintf(digits, sizeof digits, "%.*s", (int)setting->value.len, (const char *)setting->value.data);
            channel->most = strtoull(digits, NULL, 10);
        }
    }
    bool absolute = base.len == 0 || (folder.len > 0 && folder.data[0] == '/');
    int written = absolute
        ? snprintf(channel->folder, sizeof channel->folder, "%.*s", (int)folder.len, (const char *)folder.data)
        : snprintf(channel->folder, sizeof channel->folder, "%.*s/%.*s", (int)base.len, (const char *)base.data,
                   (int)folder.len, (const char *)folder.data);
    if (folder.len == 0 || written < 0 || (size_t)written >= sizeof channel->folder) {
        host->explain(given->handle, text_of("option FOLDER must name a folder, in less than 2048 bytes"));
        free(channel);
        return SLUICE_STATUS_REFUSED;
    }
    *made = channel;
    return SLUICE_STATUS_OK;
}

/* Writes so many bytes, or says why not by errno. */
static bool write_all(FILE *file, const uint8_t *bytes, size_t count) {
    return count == 0 || fwrite(bytes, 1, count, file) == count;
}

/* The message as people read it: one dot is taken from each line that begins with one, and lines end with LF alone. It comes in
 * pieces that are cut anywhere. */
static bool write_content(FILE *file, const sluice_delivery *delivery) {
    bool line_begins = true;
    for (size_t at = 0; at < delivery->piece_count; at++) {
        const uint8_t *byte = delivery->pieces[at].data;
        const uint8_t *end = byte + delivery->pieces[at].len;
        while (byte < end) {
            if (line_begins && *byte == '.') {
                line_begins = false;
                byte++;
                continue;
            }
            if (*byte == '\r') { /* It stands in front of an LF only. */
                byte++;
                continue;
            }
            const uint8_t *from = byte;
            while (byte < end && *byte != '\n' && *byte != '\r')
                byte++;
            line_begins = byte < end && *byte == '\n';
            if (line_begins)
                byte++;
            if (!write_all(file, from, (size_t)(byte - from)))
                return false;
        }
    }
    return true;
}

/* Writes the message beside its place and moves it there when it is on the disk, so that nobody sees half of one. The name is
 * made of the queue id: when a message is tried again after a crash, it replaces itself. */
static bool write_message(const struct channel *channel, const sluice_delivery *delivery, uint32_t index, char *name,
                          size_t room) {
    char beside[PATH_BYTES], place[PATH_BYTES];
    int id = (int)delivery->id.len;
    snprintf(name, room, "%.*s-%u.eml", id, (const char *)delivery->id.data, (unsigned)index);
    if (snprintf(beside, sizeof beside, "%s/.%s.new", channel->folder, name) >= (int)sizeof beside
        || snprintf(place, sizeof place, "%s/%s", channel->folder, name) >= (int)sizeof place) {
        errno = ENAMETOOLONG;
        return false;
    }
    /* "e": a program that somebody starts does not get our file. */
    FILE *file = fopen(beside, "we");
    if (file == NULL)
        return false;
    bool good = write_content(file, delivery) && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int error = errno;
    good = (fclose(file) == 0) && good;
    if (!good) {
        errno = error;
        return false;
    }
    int folder = open(channel->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return false;
    good = rename(beside, place) == 0 && fsync(folder) == 0;
    error = errno;
    close(folder);
    errno = error;
    return good;
}

/* One message for one or more recipients; each is settled once. */
static void deliver(const struct channel *channel, const sluice_worker *worker, const sluice_delivery *delivery) {
    for (size_t at = 0; at < delivery->recipient_count; at++) {
        const sluice_recipient *recipient =
            (const sluice_recipient *)((const char *)delivery->recipients + at * delivery->recipient_size);
        char name[300], text[400];
        sluice_outcome outcome = { .size = sizeof outcome };
        if (delivery->body_size > channel->most) {
            outcome.kind = SLUICE_OUTCOME_FAILED; /* Never: the sender gets a notice. */
            outcome.class_ = 5, outcome.subject = 3, outcome.detail = 4;
            snprintf(text, sizeof text, "more than %llu bytes", channel->most);
        } else if (write_message(channel, delivery, recipient->index, name, sizeof name)) {
            outcome.kind = SLUICE_OUTCOME_DELIVERED; /* Somebody else answers for it now: it is on the disk. */
            outcome.class_ = 2;
            snprintf(text, sizeof text, "written as %s", name);
        } else {
            outcome.kind = SLUICE_OUTCOME_DEFERRED; /* Not now: the hub tries again. */
            outcome.class_ = 4, outcome.subject = 3;
            snprintf(text, sizeof text, "cannot write: %s", strerror(errno));
        }
        outcome.text = text_of(text);
        channel->host->settle(worker, delivery->token, recipient->index, &outcome);
    }
    /* Gives the message's bytes back. Whoever was not settled is deferred. */
    channel->host->finish(worker, delivery->token);
}

/* Works until it is told to stop. Called on several threads at once. */
static int32_t run(void *made, const sluice_worker *worker) {
    const struct channel *channel = made;
    for (;;) {
        const sluice_delivery *delivery = NULL;
        switch (channel->host->next(worker, WAIT_MS, &delivery)) {
        case SLUICE_NEXT_DELIVERY:
            deliver(channel, worker, delivery);
            break;
        case SLUICE_NEXT_STOP:
            return SLUICE_STATUS_OK;
        default: /* Nothing came, or something that a newer hub says. */
            break;
        }
    }
}

/* Wakes what waits outside of next; nothing does here. */
static void stop(void *made) {
    (void)made;
}

static void destroy(void *made) {
    free(made);
}

SLUICE_EXPORT const sluice_plugin_table sluice_plugin = {
    .abi_version = SLUICE_ABI_VERSION,
    .size = sizeof(sluice_plugin_table),
    .name = SLUICE_TEXT("@NAME@"),
    .version = SLUICE_TEXT("0.1.0"),
    .description = SLUICE_TEXT("writes messages into a folder"),
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .option_size = sizeof(sluice_option_spec),
    .create = create,
    .run = run,
    .stop = stop,
    .destroy = destroy,
};
