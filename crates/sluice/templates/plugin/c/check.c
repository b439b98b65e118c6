/* Tries the plugin without a hub: loads it as a hub does, and plays one delivery to it.
 *
 *     check LIBRARY FOLDER
 */
#include "sluice.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define EXPECT(what)                                                       \
    do {                                                                   \
        if (!(what)) {                                                     \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            failures++;                                                    \
        }                                                                  \
    } while (0)

static const char content[] = "Subject: hello\r\n\r\nHello.\r\n..a line with a dot\r\n";

static sluice_recipient recipients[] = {
    { .index = 1, .address = SLUICE_TEXT("fred@@HOST@.example") },
    { .index = 4, .address = SLUICE_TEXT("kim@@HOST@.example") },
};
/* In pieces that are cut at unkind places. */
static sluice_piece pieces[] = {
    { (const uint8_t *)content, 15 },
    { (const uint8_t *)content + 15, 11 },
    { (const uint8_t *)content + 26, 2 },
    { (const uint8_t *)content + 28, sizeof content - 1 - 28 },
};
static sluice_delivery delivery = {
    .size = sizeof delivery,
    .token = 7,
    .id = SLUICE_TEXT("hello"),
    .sender = SLUICE_TEXT("sender@hub.example"),
    .body_size = sizeof content - 1,
    .recipients = recipients,
    .recipient_count = 2,
    .recipient_size = sizeof recipients[0],
    .pieces = pieces,
    .piece_count = sizeof pieces / sizeof pieces[0],
};

static int handed_out, finished;
static uint32_t kinds[5];

static uint32_t next(const sluice_worker *worker, uint64_t timeout_ms, const sluice_delivery **lent) {
    (void)worker, (void)timeout_ms;
    if (handed_out++ > 0)
        return SLUICE_NEXT_STOP;
    *lent = &delivery;
    return SLUICE_NEXT_DELIVERY;
}

static uint32_t settle(const sluice_worker *worker, uint64_t token, uint32_t index, const sluice_outcome *outcome) {
    (void)worker;
    EXPECT(token == 7 && !finished && (index == 1 || index == 4));
    if (index > 4)
        return SLUICE_SETTLE_NO_RECIPIENT;
    EXPECT(kinds[index] == 0); /* Once each. */
    kinds[index] = outcome->kind;
    printf("%u: %.*s\n", (unsigned)index, (int)outcome->text.len, (const char *)outcome->text.data);
    return SLUICE_SETTLE_OK;
}

static uint32_t finish(const sluice_worker *worker, uint64_t token) {
    (void)worker;
    EXPECT(token == 7 && !finished);
    finished = 1;
    return SLUICE_SETTLE_OK;
}

static uint64_t deadline(const sluice_worker *worker, uint64_t token) {
    (void)worker, (void)token;
    return 600000;
}

static void write_log(const sluice_channel *channel, uint32_t level, sluice_text id, sluice_text text) {
    (void)channel, (void)level, (void)id;
    printf("log: %.*s\n", (int)text.len, (const char *)text.data);
}

static void explain(const sluice_channel *channel, sluice_text text) {
    (void)channel;
    printf("because: %.*s\n", (int)text.len, (const char *)text.data);
}

static const sluice_host host = {
    .abi_version = SLUICE_ABI_VERSION,
    .size = sizeof host,
    .next = next,
    .settle = settle,
    .finish = finish,
    .deadline = deadline,
    .log = write_log,
    .explain = explain,
};

/* Plays the delivery to a channel whose option FOLDER is this. */
static void play(const sluice_plugin_table *plugin, const char *folder) {
    sluice_setting setting = {
        .kind = SLUICE_SETTING_OPTION,
        .name = SLUICE_TEXT("FOLDER"),
        .value = { (const uint8_t *)folder, strlen(folder) },
    };
    sluice_create given = {
        .size = sizeof given,
        .setting_size = sizeof setting,
        .channel = SLUICE_TEXT("@NAME@"),
        .settings = &setting,
        .setting_count = 1,
    };
    void *channel = NULL;
    handed_out = finished = 0;
    memset(kinds, 0, sizeof kinds);
    int32_t status = plugin->create(&host, &given, &channel);
    EXPECT(status == SLUICE_STATUS_OK);
    if (status != SLUICE_STATUS_OK)
        return;
    EXPECT(plugin->run(channel, NULL) == SLUICE_STATUS_OK);
    EXPECT(finished);
    plugin->destroy(channel);
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: check LIBRARY FOLDER\n");
        return 64;
    }
    void *library = dlopen(arguments[1], RTLD_NOW);
    const sluice_plugin_table *plugin = library == NULL ? NULL : dlsym(library, "sluice_plugin");
    if (plugin == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    EXPECT(plugin->abi_version == SLUICE_ABI_VERSION);
    EXPECT(plugin->size >= sizeof *plugin);

    play(plugin, arguments[2]);
    EXPECT(kinds[1] == SLUICE_OUTCOME_DELIVERED && kinds[4] == SLUICE_OUTCOME_DELIVERED);
    char path[4096], text[sizeof content] = "";
    snprintf(path, sizeof path, "%s/hello-1.eml", arguments[2]);
    FILE *file = fopen(path, "r");
    EXPECT(file != NULL);
    if (file != NULL) {
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
    }
    EXPECT(strcmp(text, "Subject: hello\n\nHello.\n.a line with a dot\n") == 0);

    play(plugin, "/nowhere/at/all");
    EXPECT(kinds[1] == SLUICE_OUTCOME_DEFERRED && kinds[4] == SLUICE_OUTCOME_DEFERRED);

    puts(failures == 0 ? "all is well" : "not all is well");
    return failures == 0 ? 0 : 1;
}
