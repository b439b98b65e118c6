/* Plays the hub for fifo.c, so that it can be tried, and searched for leaks, without one: `make check`. */
#define _POSIX_C_SOURCE 200809L
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sluice.h"

static const char *path = "driver.fifo";
static int deliveries, given;
static uint32_t last_kind, settled;
static char last_text[128];
static uint64_t deadline_ms = 60000;
static sluice_delivery delivery;

static uint32_t next(const sluice_worker *worker, uint64_t timeout_ms, const sluice_delivery **out) {
    (void)worker;
    (void)timeout_ms;
    if (given == deliveries) {
        return SLUICE_NEXT_STOP;
    }
    given++;
    delivery.token = (uint64_t)given;
    *out = &delivery;
    return SLUICE_NEXT_DELIVERY;
}

static uint32_t settle(const sluice_worker *worker, uint64_t token, uint32_t index, const sluice_outcome *outcome) {
    (void)worker;
    (void)token;
    (void)index;
    last_kind = outcome->kind;
    settled++;
    snprintf(last_text, sizeof last_text, "%.*s", (int)outcome->text.len, (const char *)outcome->text.data);
    return SLUICE_SETTLE_OK;
}

static uint32_t finish(const sluice_worker *worker, uint64_t token) {
    (void)worker;
    (void)token;
    return SLUICE_SETTLE_OK;
}

static uint64_t deadline(const sluice_worker *worker, uint64_t token) {
    (void)worker;
    (void)token;
    return deadline_ms;
}

static void nothing_to_say(const sluice_channel *channel, uint32_t level, sluice_text id, sluice_text words) {
    (void)channel;
    (void)level;
    (void)id;
    (void)words;
}

static void explain(const sluice_channel *channel, sluice_text words) {
    (void)channel;
    snprintf(last_text, sizeof last_text, "%.*s", (int)words.len, (const char *)words.data);
}

static const sluice_host host = {
    .abi_version = SLUICE_ABI_VERSION,
    .size = sizeof(sluice_host),
    .next = next,
    .settle = settle,
    .finish = finish,
    .deadline = deadline,
    .log = nothing_to_say,
    .explain = explain,
};

static sluice_text text(const char *from) {
    sluice_text made = { (const uint8_t *)from, strlen(from) };
    return made;
}

static int32_t made(const char *device, const char *timeout, void **channel) {
    sluice_setting settings[2] = { { SLUICE_SETTING_OPTION, 0, text("TIMEOUT"), text(timeout) },
                                   { SLUICE_SETTING_OPTION, 0, text("DEVICE"), text(device == NULL ? "" : device) } };
    sluice_create given_settings = { 0 };
    given_settings.size = sizeof given_settings;
    given_settings.setting_size = sizeof settings[0];
    given_settings.channel = text("fifo");
    given_settings.settings = settings;
    given_settings.setting_count = device == NULL ? 1 : 2;
    return sluice_plugin.create(&host, &given_settings, channel);
}

static void *stop_soon(void *channel) {
    struct timespec pause = { 0, 200 * 1000000L };
    nanosleep(&pause, NULL);
    sluice_plugin.stop(channel);
    return NULL;
}

/* Runs the channel on this thread for so many messages. */
static void runs(void *channel, int messages) {
    deliveries = messages;
    given = 0;
    settled = 0;
    assert(sluice_plugin.run(channel, NULL) == SLUICE_STATUS_OK);
    assert(settled == (uint32_t)messages * 2);
}

static void *read_all(void *found) {
    int file = open(path, O_RDONLY);
    char *all = found;
    size_t length = 0;
    /* Slowly, and in odd portions. */
    for (;;) {
        ssize_t count = read(file, all + length, 777);
        if (count <= 0) {
            break;
        }
        length += (size_t)count;
    }
    all[length] = '\0';
    close(file);
    return NULL;
}

int main(void) {
    static char content[300000], found[400000];
    sluice_recipient to[2] = { { 0 }, { 0 } };
    sluice_piece pieces[2];
    pthread_t thread;
    void *channel = NULL;
    int held;
    memset(content, 'x', sizeof content);
    to[0].address = text("fred@far.example");
    to[1].index = 1;
    to[1].address = text("kim@far.example");
    pieces[0].data = (const uint8_t *)content;
    pieces[0].len = 100000;
    pieces[1].data = (const uint8_t *)content + 100000;
    pieces[1].len = 200000;
    delivery.size = sizeof delivery;
    delivery.id = text("A41");
    delivery.sender = text("ann@hub.example");
    delivery.body_size = sizeof content;
    delivery.recipients = to;
    delivery.recipient_count = 2;
    delivery.recipient_size = sizeof to[0];
    delivery.pieces = pieces;
    delivery.piece_count = 2;

    assert(made(NULL, "1", &channel) == SLUICE_STATUS_REFUSED && strstr(last_text, "DEVICE is missing") != NULL);
    unlink(path);
    assert(made(path, "1", &channel) == SLUICE_STATUS_OK);
    runs(channel, 1);
    assert(last_kind == SLUICE_OUTCOME_DEFERRED && strcmp(last_text, "nobody is at the other end") == 0);
    assert(mkfifo(path, 0600) == 0);
    runs(channel, 1);
    assert(last_kind == SLUICE_OUTCOME_DEFERRED && strcmp(last_text, "nobody is at the other end") == 0);

    /* A reader that is there and takes nothing: TIMEOUT, and the hub's deadline before it. */
    held = open(path, O_RDONLY | O_NONBLOCK);
    runs(channel, 1);
    assert(last_kind == SLUICE_OUTCOME_DEFERRED && strcmp(last_text, "the line takes nothing") == 0);
    deadline_ms = 50;
    runs(channel, 1);
    assert(last_kind == SLUICE_OUTCOME_DEFERRED && strcmp(last_text, "the line takes nothing") == 0);
    deadline_ms = 60000;
    close(held);

    /* A reader that is slow gets all of it. */
    assert(pthread_create(&thread, NULL, read_all, found) == 0);
    do {
        struct timespec pause = { 0, 20 * 1000000L };
        nanosleep(&pause, NULL);
        runs(channel, 1);
    } while (last_kind != SLUICE_OUTCOME_DELIVERED);
    pthread_join(thread, NULL);
    {
        const char *head = "MESSAGE A41 300000\r\nFROM ann@hub.example\r\nTO fred@far.example\r\nTO kim@far.example\r\n\r\n";
        assert(strncmp(found, head, strlen(head)) == 0 && strlen(found) == strlen(head) + sizeof content);
    }
    sluice_plugin.destroy(channel);

    /* Stop while the line takes nothing: the worker wakes up at once, long before its time is over. */
    assert(made(path, "60", &channel) == SLUICE_STATUS_OK);
    held = open(path, O_RDONLY | O_NONBLOCK);
    assert(pthread_create(&thread, NULL, stop_soon, channel) == 0);
    runs(channel, 1);
    assert(last_kind == SLUICE_OUTCOME_DEFERRED && strcmp(last_text, "the channel was stopped") == 0);
    pthread_join(thread, NULL);
    close(held);
    sluice_plugin.destroy(channel);
    unlink(path);
    puts("fifo: all is well");
    return 0;
}
