/* Sluice: the contract between the hub and a channel plugin.
 *
 * Made from crates/abi/src/lib.rs; do not change it here. The document is docs/internals/abi.md: who owns which bytes
 * for how long, which thread may call what, and how the contract grows.
 *
 * SPDX-License-Identifier: Apache-2.0 OR MIT
 */
#ifndef SLUICE_H
#define SLUICE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Initialises a sluice_text with a string literal. */
#define SLUICE_TEXT(literal) { (const uint8_t *)(literal), sizeof(literal) - 1 }

/* Makes a symbol visible although the library is built with -fvisibility=hidden. */
#define SLUICE_EXPORT __attribute__((visibility("default")))

/* The version of this contract. A plugin is loaded only when its table says exactly this number. */
#define SLUICE_ABI_VERSION 1u

/* create, run: all is well. */
#define SLUICE_STATUS_OK 0

/* create, run: it could not; the reason was given to Host.explain. The host tries again later. */
#define SLUICE_STATUS_FAILED 1

/* create: the settings are wrong and trying again is useless; the reason was given to Host.explain. */
#define SLUICE_STATUS_REFUSED 2

/* create, run: the plugin's own fence caught a panic (or an exception); its message was given to Host.explain. */
#define SLUICE_STATUS_PANIC 3

/* Host.next: a delivery was stored. */
#define SLUICE_NEXT_DELIVERY 1u

/* Host.next: nothing came within the time asked for. */
#define SLUICE_NEXT_IDLE 2u

/* Host.next: there may be nothing queued, but the peer is to be asked for its mail (a poll run). */
#define SLUICE_NEXT_POLL 3u

/* Host.next: finish what you hold and return from run. */
#define SLUICE_NEXT_STOP 4u

/* Host.settle, Host.finish: taken. */
#define SLUICE_SETTLE_OK 0u

/* Host.settle, Host.finish: the token is not with this worker: never was, is finished, or was taken back at its deadline. */
#define SLUICE_SETTLE_UNKNOWN 1u

/* Host.settle: no such recipient in this delivery. */
#define SLUICE_SETTLE_NO_RECIPIENT 2u

/* Host.settle: this recipient was settled before; the first word counts. */
#define SLUICE_SETTLE_AGAIN 3u

/* Host.settle: the outcome is not usable (null pointer, unknown kind, impossible status code). */
#define SLUICE_SETTLE_BAD 4u

/* Host.enqueue: every recipient has been answered, for better or worse. */
#define SLUICE_ENQUEUE_DONE 0u

/* Host.enqueue: the worker's time is over, or the delivery named in Submission.of is not with it. */
#define SLUICE_ENQUEUE_GONE 1u

/* Host.enqueue: the submission is not usable: too small, without recipients, too many of them, null pointers. */
#define SLUICE_ENQUEUE_BAD 2u

/* Host.enqueue: no mail is taken from plugins at the moment. */
#define SLUICE_ENQUEUE_CLOSED 3u

/* Submission.flags: the message is not pure seven-bit text (RFC 6152). */
#define SLUICE_SUBMISSION_EIGHT_BIT 1u

/* Submission.flags: the message needs SMTPUTF8 (RFC 6531). */
#define SLUICE_SUBMISSION_SMTPUTF8 2u

/* Submission.flags: the message appears to come from the channel that the delivery in Submission.of once came
 * in by, and not from the worker's own.
 */
#define SLUICE_SUBMISSION_AS_ORIGINAL 4u

/* Submission.flags: the message is on hold from the moment it comes in, until an operator releases it. A host that is older than
 * this flag passes over it.
 */
#define SLUICE_SUBMISSION_ON_HOLD 8u

/* Plugin.route: the routine has no answer for this argument. */
#define SLUICE_ROUTE_MISS 0u

/* Plugin.route: the answer was stored. */
#define SLUICE_ROUTE_FOUND 1u

/* Plugin.route: there is no such routine. */
#define SLUICE_ROUTE_UNKNOWN 2u

/* Plugin.route: the answer does not fit. */
#define SLUICE_ROUTE_TOO_LONG 3u

/* Plugin.route: the plugin's own fence caught a panic (or an exception). */
#define SLUICE_ROUTE_PANIC 4u

/* Outcome.kind: the next hop, or the mailbox, has it now. */
#define SLUICE_OUTCOME_DELIVERED 1u

/* Outcome.kind: not now; the host tries again by the channel's schedule. */
#define SLUICE_OUTCOME_DEFERRED 2u

/* Outcome.kind: never; the sender gets a notice. */
#define SLUICE_OUTCOME_FAILED 3u

/* Outcome.handover: this was the end of the way; the host tells the sender, if asked to. */
#define SLUICE_HANDOVER_FINAL 0u

/* Outcome.handover: the next hop makes no reports of deliveries; the host tells the sender so, if asked to. */
#define SLUICE_HANDOVER_RELAYED 1u

/* Outcome.handover: the next hop was told what the sender wants, and answers for that too. */
#define SLUICE_HANDOVER_PASSED_ON 2u

/* Recipient.notify: the sender is told nothing about this recipient (RFC 3461). */
#define SLUICE_NOTIFY_NEVER 1u

/* Recipient.notify: the sender is told when it was delivered. */
#define SLUICE_NOTIFY_SUCCESS 2u

/* Recipient.notify: the sender is told when it cannot be delivered. */
#define SLUICE_NOTIFY_FAILURE 4u

/* Recipient.notify: the sender is told when it is late. */
#define SLUICE_NOTIFY_DELAY 8u

/* Delivery.returned: a notice of failure is to return the whole message (RFC 3461). */
#define SLUICE_RETURN_FULL 1u

/* Delivery.returned: a notice of failure is to return the header. */
#define SLUICE_RETURN_HEADERS 2u

/* Setting.kind: a channel keyword in force. */
#define SLUICE_SETTING_KEYWORD 1u

/* Setting.kind: a line of the channel's option file. */
#define SLUICE_SETTING_OPTION 2u

/* Setting.kind: something the host knows, such as official_host. */
#define SLUICE_SETTING_FACT 3u

/* OptionSpec.kind: any text. */
#define SLUICE_OPTION_TEXT 0u

/* OptionSpec.kind: a decimal number that is not negative. */
#define SLUICE_OPTION_INTEGER 1u

/* OptionSpec.kind: 0 or 1. */
#define SLUICE_OPTION_SWITCH 2u

/* OptionSpec.kind: a decimal number of seconds. */
#define SLUICE_OPTION_SECONDS 3u

/* OptionSpec.kind: a file or folder. */
#define SLUICE_OPTION_PATH 4u

/* OptionSpec.flags: a channel cannot do without this option, which has no default. */
#define SLUICE_OPTION_FLAG_REQUIRED 1u

/* Delivery.flags: the message is not pure seven-bit text (RFC 6152). */
#define SLUICE_DELIVERY_EIGHT_BIT 1u

/* Delivery.flags: the message needs SMTPUTF8 (RFC 6531). */
#define SLUICE_DELIVERY_SMTPUTF8 2u

/* Delivery.flags: another delivery for the same destination follows at once; a connection is worth keeping. */
#define SLUICE_DELIVERY_MORE 4u

/* The sender has said how soon the message is to be transferred (MT-PRIORITY): Delivery.transfer_priority is to be passed on. */
#define SLUICE_DELIVERY_MT_PRIORITY 8u

/* Host.log: someone must act. */
#define SLUICE_LOG_ERROR 1u

/* Host.log: the plugin coped. */
#define SLUICE_LOG_WARN 2u

/* Host.log: what was asked for happened. */
#define SLUICE_LOG_INFO 3u

/* Host.log: for the plugin's author. */
#define SLUICE_LOG_DEBUG 4u

/* Host.log: for the plugin's author, in every detail. */
#define SLUICE_LOG_TRACE 5u

/* Host.features: the host has Host.enqueue. */
#define SLUICE_FEATURE_ENQUEUE 1u

/* Host.features: the host calls Plugin.route. */
#define SLUICE_FEATURE_ROUTE 2u

/* Host.features: the host calls Plugin.filter. */
#define SLUICE_FEATURE_FILTER 4u

/* Host.features: the host answers NEXT_POLL when a channel is to be polled. */
#define SLUICE_FEATURE_POLL 8u

/* Host.features: deliveries have Delivery.next_hop; Plugin.features: the plugin obeys it. */
#define SLUICE_FEATURE_NEXT_HOP 16u

/* Host.features: deliveries and submissions have what the sender wants to be told (RFC 3461). */
#define SLUICE_FEATURE_WISHES 32u

/* Host.features: deliveries have Delivery.transfer_priority (RFC 6710). */
#define SLUICE_FEATURE_PRIORITY 64u

/* Borrowed UTF-8 text, not closed by a NUL. data is null only for text that is absent. */
typedef struct sluice_text {
    /* First byte. */
    const uint8_t *data;
    /* Number of bytes. */
    size_t len;
} sluice_text;

/* Borrowed bytes of a message. */
typedef struct sluice_piece {
    /* First byte. */
    const uint8_t *data;
    /* Number of bytes, never 0. */
    size_t len;
} sluice_piece;

/* A channel as the host knows it; plugins only carry the pointer. */
typedef struct sluice_channel sluice_channel;

/* A worker as the host knows it; plugins only carry the pointer, and not past the end of run. */
typedef struct sluice_worker sluice_worker;

/* One option that the plugin understands, for checking an option file and for help without running plugin code. */
typedef struct sluice_option_spec {
    /* Upper-case letters, digits and _; unique in its table. */
    sluice_text name;
    /* One of the OPTION_ constants. */
    uint32_t kind;
    /* OPTION_FLAG_ bits; unknown ones are to be ignored. Zero in plugins that are older than this field. */
    uint32_t flags;
    /* What an absent line means, written as in the file; null data when there is no default. */
    sluice_text default_;
    /* A sentence or two for the operator. */
    sluice_text help;
    /* Least value of a number or of seconds. Not in a table whose stride is 56. */
    uint64_t min;
    /* Greatest value of a number or of seconds; 0 when there is no bound. */
    uint64_t max;
} sluice_option_spec;

/* One setting handed to create. */
typedef struct sluice_setting {
    /* One of the SETTING_ constants. */
    uint32_t kind;
    /* Zero. */
    uint32_t reserved;
    /* Keyword (lower case), option (upper case) or fact (lower case). */
    sluice_text name;
    /* Its arguments joined by one blank; empty when there is none. */
    sluice_text value;
} sluice_setting;

/* What create is given. Borrowed for the length of that call; the Channel handle in it is for ever. */
typedef struct sluice_create {
    /* Size of this structure as the host knows it. */
    uint32_t size;
    /* Distance in bytes from one setting to the next. */
    uint32_t setting_size;
    /* Names the channel in Host.log. Usable from any thread until the process ends. */
    const sluice_channel *handle;
    /* Channel name, lower case. */
    sluice_text channel;
    /* The settings. */
    const sluice_setting *settings;
    /* How many settings. */
    size_t setting_count;
} sluice_create;

/* One recipient of a delivery. */
typedef struct sluice_recipient {
    /* What Host.settle wants; ascending within a delivery, not necessarily consecutive. */
    uint32_t index;
    /* Zero. */
    uint32_t reserved;
    /* The address to use with the next hop, without angle brackets. */
    sluice_text address;
    /* The address as the message's submitter gave it. */
    sluice_text original;
    /* The destination domain. */
    sluice_text domain;
    /* What the sender wants to be told: sum of NOTIFY_ bits, 0 when it did not say. */
    uint32_t notify;
    /* Zero. */
    uint32_t reserved_too;
    /* Address and type where the message began (ORCPT), encoded as it goes on the wire; absent when it was not told. */
    sluice_text origin;
} sluice_recipient;

/* One message for one or more recipients, lent to a worker until it calls Host.finish or returns from run. */
typedef struct sluice_delivery {
    /* Size of this structure as the host knows it. */
    uint32_t size;
    /* DELIVERY_ bits; unknown ones are to be ignored. */
    uint32_t flags;
    /* Names this delivery in settle, finish and deadline. Never reused, never 0. */
    uint64_t token;
    /* The batch it came in: deliveries with the same number have the same destination. */
    uint64_t lease;
    /* The message's queue id, for logs and for what is said to the peer. */
    sluice_text id;
    /* Envelope sender without angle brackets; empty is the null reverse-path. */
    sluice_text sender;
    /* When it was accepted, milliseconds since 1970-01-01 UTC. */
    uint64_t arrived_ms;
    /* Sum of the lengths of the pieces. */
    uint64_t body_size;
    /* How often delivery was tried before. */
    uint32_t attempts;
    /* 0 urgent, 1 normal, 2 non-urgent. */
    uint32_t priority;
    /* The recipients. */
    const sluice_recipient *recipients;
    /* How many recipients, at least 1. */
    size_t recipient_count;
    /* Distance in bytes from one recipient to the next. */
    uint32_t recipient_size;
    /* Zero. */
    uint32_t reserved;
    /* The message in wire form: CRLF line ends, dot-stuffed, without the closing dot line (RFC 5321 section 4.5.2). */
    const sluice_piece *pieces;
    /* How many pieces; 0 is an empty message. */
    size_t piece_count;
    /* Where this delivery goes in place of where the channel's settings say: host, host:port, [address]:port, or
     * unix:/path of a socket; absent for "as configured". Not in a delivery whose size is 120.
     */
    sluice_text next_hop;
    /* What a notice of failure is to return: a RETURN_ constant, 0 when the sender did not say. */
    uint32_t returned;
    /* Zero. */
    uint32_t reserved_too;
    /* The sender's name of the message (ENVID), encoded as it goes on the wire; absent when there is none. */
    sluice_text envelope_id;
    /* How soon it is to be transferred, -9 to 9, the higher the sooner (RFC 6710): what MAIL said if flags has
     * DELIVERY_MT_PRIORITY, else 4, 0 or -4 for the three values of priority. Not in a delivery whose size is 160.
     */
    int32_t transfer_priority;
    /* Zero. */
    uint32_t reserved_three;
} sluice_delivery;

/* What became of one recipient. Borrowed for the length of the call to Host.settle. */
typedef struct sluice_outcome {
    /* Size of this structure as the plugin knows it. */
    uint32_t size;
    /* One of the OUTCOME_ constants. */
    uint32_t kind;
    /* RFC 3463 status class: 2, 4 or 5, in agreement with kind. */
    uint16_t class_;
    /* RFC 3463 subject, at most 999. */
    uint16_t subject;
    /* RFC 3463 detail, at most 999. */
    uint16_t detail;
    /* A HANDOVER_ constant, of what was delivered. Zero in plugins that are older than this field. */
    uint16_t handover;
    /* The reply of whoever decided, with its code if there was one; for the notice and the log. */
    sluice_text text;
    /* Who decided: host name of the next hop, or empty for the plugin itself. */
    sluice_text peer;
} sluice_outcome;

/* One recipient of a submission. */
typedef struct sluice_submitted {
    /* The address, without angle brackets. It is rewritten and aliases are expanded, as for mail from a listener. */
    sluice_text address;
    /* The address that notices are to name; absent where that is address. */
    sluice_text original;
    /* As in a delivery. */
    uint32_t notify;
    /* Zero. */
    uint32_t reserved;
    /* As in a delivery. */
    sluice_text origin;
} sluice_submitted;

/* A message that a worker brings in. Borrowed for the length of the call to Host.enqueue. */
typedef struct sluice_submission {
    /* Size of this structure as the plugin knows it. */
    uint32_t size;
    /* SUBMISSION_ bits. */
    uint32_t flags;
    /* Token of a delivery that this worker holds and that the message comes of; 0 for a message of its own. */
    uint64_t of;
    /* Envelope sender without angle brackets; empty is the null reverse-path. */
    sluice_text sender;
    /* The recipients. */
    const sluice_submitted *recipients;
    /* How many recipients, at least 1. */
    size_t recipient_count;
    /* Distance in bytes from one recipient to the next. */
    uint32_t recipient_size;
    /* What a notice of failure is to return: a RETURN_ constant, 0 when the sender did not say. Of a message that comes of a
     * delivery, what was said with that counts, here and for envelope_id.
     */
    uint32_t returned;
    /* The message in wire form, as in a delivery. */
    const sluice_piece *pieces;
    /* How many pieces; 0 is an empty message. */
    size_t piece_count;
    /* Called once for each recipient, by its position from 0, before Host.enqueue answers ENQUEUE_DONE, and on
     * the same thread. OUTCOME_DELIVERED means that the message is durable for this recipient. The outcome and its
     * texts are the host's and valid during the call. Null when nobody wants to know.
     */
    void (*answered)(void *context, uint32_t position, const sluice_outcome *);
    /* Handed to answered as it is. */
    void *context;
    /* The sender's name of the message (ENVID), encoded as it goes on the wire; absent when there is none. Not in a submission whose
     * size is 88.
     */
    sluice_text envelope_id;
} sluice_submission;

/* Plugin.filter: the message goes on, with the changes that were made to it. */
#define SLUICE_FILTER_ACCEPT 0u

/* Plugin.filter: the message is not taken; Filtering.reply has said what the client is told. */
#define SLUICE_FILTER_REFUSE 1u

/* Plugin.filter: the message is taken and waits for an operator; Filtering.reply has said why. */
#define SLUICE_FILTER_HOLD 2u

/* Plugin.filter: the message is taken and thrown away. */
#define SLUICE_FILTER_DISCARD 3u

/* Plugin.filter: no verdict can be given at the moment; Filtering.reply may have said why. */
#define SLUICE_FILTER_FAILED 4u

/* Plugin.filter: the plugin's own fence caught a panic (or an exception); Filtering.reply has its message. */
#define SLUICE_FILTER_PANIC 5u

/* Filtering's functions: taken. */
#define SLUICE_CHANGE_OK 0u

/* Filtering's functions: this call is over: its time has passed. */
#define SLUICE_CHANGE_GONE 1u

/* Filtering's functions: not usable: a null pointer, bad UTF-8, a name that is no field name, a value with a bare CR. */
#define SLUICE_CHANGE_BAD 2u

/* Filtering's functions: there is no such recipient, or it was taken away before. */
#define SLUICE_CHANGE_NO_RECIPIENT 3u

/* Filtering's functions: this call has made as many changes as are allowed. */
#define SLUICE_CHANGE_TOO_MANY 4u

/* HeaderEdit.kind: a new field on top of the header, below the hub's own Received:. */
#define SLUICE_EDIT_ADD_FIRST 1u

/* HeaderEdit.kind: a new field at the end of the header. */
#define SLUICE_EDIT_ADD_LAST 2u

/* HeaderEdit.kind: the field has this value now; one that is not there is put at the end. */
#define SLUICE_EDIT_REPLACE 3u

/* HeaderEdit.kind: the field goes; one that is not there is gone already. */
#define SLUICE_EDIT_REMOVE 4u

/* FilterMessage.flags: the message is not pure seven-bit text (RFC 6152). */
#define SLUICE_MESSAGE_EIGHT_BIT 1u

/* FilterMessage.flags: the message needs SMTPUTF8 (RFC 6531): values of fields may be UTF-8. */
#define SLUICE_MESSAGE_SMTPUTF8 2u

/* FilterMessage.flags: it came over a line that TLS protects. */
#define SLUICE_MESSAGE_TLS 4u

/* FilterMessage.flags: the client is known by its address or its login, and no stranger. */
#define SLUICE_MESSAGE_KNOWN 8u

/* FilterMessage.flags: a channel brought it in; there is no client. */
#define SLUICE_MESSAGE_FROM_CHANNEL 16u

/* FilterMessage.flags: a channel brought it in again, after it had come in before. */
#define SLUICE_MESSAGE_AGAIN 32u

/* One recipient of a message that a filter is shown. */
typedef struct sluice_filter_recipient {
    /* What Filtering.withdraw wants; from 0. */
    uint32_t index;
    /* What the sender wants to be told: sum of NOTIFY_ bits, 0 when it did not say. */
    uint32_t notify;
    /* The address that it goes to, without angle brackets. */
    sluice_text address;
    /* The address as the message's submitter gave it. */
    sluice_text original;
    /* The channel that it goes to. */
    sluice_text channel;
    /* As in a delivery. */
    sluice_text origin;
} sluice_filter_recipient;

/* One message that a filter is shown before it is queued. Borrowed until Plugin.filter returns. */
typedef struct sluice_filter_message {
    /* Size of this structure as the host knows it. */
    uint32_t size;
    /* MESSAGE_ bits; unknown ones are to be ignored. */
    uint32_t flags;
    /* Which filter this is, 1 to 8: the number in the keyword that asked for it. */
    uint32_t number;
    /* Milliseconds that there are for the verdict, from the beginning of the call. */
    uint32_t time_ms;
    /* The message's queue id, for logs. */
    sluice_text id;
    /* The channel that it comes in by. */
    sluice_text source_channel;
    /* The channel that the copy is for; absent when the whole message is shown. */
    sluice_text destination_channel;
    /* The words behind the keyword that asked for the filter (sourcespamfilter1optin); absent for one without words. */
    sluice_text opt_in;
    /* Envelope sender without angle brackets; empty is the null reverse-path. */
    sluice_text sender;
    /* The address of the client, IPv4 or IPv6, without brackets; absent when a channel brought the message in. */
    sluice_text client_address;
    /* What the name service calls the client; absent when it was not asked, or did not know. */
    sluice_text client_name;
    /* What the client calls itself (EHLO, HELO). A stranger's text. */
    sluice_text helo;
    /* The name that the client has logged in with; absent without a login. */
    sluice_text login;
    /* When it came, milliseconds since 1970-01-01 UTC. */
    uint64_t arrived_ms;
    /* Sum of the lengths of the pieces. */
    uint64_t body_size;
    /* The recipients. */
    const sluice_filter_recipient *recipients;
    /* How many recipients, at least 1. */
    size_t recipient_count;
    /* Distance in bytes from one recipient to the next. */
    uint32_t recipient_size;
    /* Zero. */
    uint32_t reserved;
    /* The message in wire form, as in a delivery; the hub's own Received: is its first field. */
    const sluice_piece *pieces;
    /* How many pieces, at least 1. */
    size_t piece_count;
} sluice_filter_message;

/* One call of a filter as the host knows it; plugins only carry the pointer, and not past the end of the call. */
typedef struct sluice_filter_call sluice_filter_call;

/* What the client is told, or why a message is on hold. Borrowed for the length of the call to Filtering.reply. */
typedef struct sluice_filter_reply {
    /* Size of this structure as the plugin knows it. */
    uint32_t size;
    /* Reply code of SMTP, 400 to 599; 0 is 550, or 451 for a status of class 4. Of no meaning for a message on hold. */
    uint32_t code;
    /* RFC 3463 status class: 4 or 5, in agreement with code. */
    uint16_t class_;
    /* RFC 3463 subject, at most 999. */
    uint16_t subject;
    /* RFC 3463 detail, at most 999. */
    uint16_t detail;
    /* Zero. */
    uint16_t reserved;
    /* For the client and the log. */
    sluice_text text;
} sluice_filter_reply;

/* A change of the header. Borrowed for the length of the call to Filtering.edit. */
typedef struct sluice_header_edit {
    /* Size of this structure as the plugin knows it. */
    uint32_t size;
    /* One of the EDIT_ constants. */
    uint32_t kind;
    /* Which of the fields with this name is replaced or removed, counted from the top and from 1; 0 means all of them
     * (of which the first is replaced, and the others go). Zero for a new field.
     */
    uint32_t occurrence;
    /* Zero. */
    uint32_t reserved;
    /* Name of the field, without the colon: printable ASCII, 1 to 76 bytes. */
    sluice_text name;
    /* What stands behind the colon and the blank; folded lines are told by CRLF and a blank or tab. Absent for a removal. */
    sluice_text value;
} sluice_header_edit;

/* The host's functions for one call of a filter. Valid until Plugin.filter returns, on any thread. */
typedef struct sluice_filtering {
    /* Size of this structure as the host knows it. */
    uint32_t size;
    /* Zero. */
    uint32_t reserved;
    /* What each of the functions wants first. */
    const sluice_filter_call *call;
    /* Says what goes with the verdict: the reply to a refusal, why the message is held, what is missing. The last word counts. */
    uint32_t (*reply)(const sluice_filter_call *, const sluice_filter_reply *);
    /* Changes the header. Changes are made in the order of the calls, each to what the one before has left. */
    uint32_t (*edit)(const sluice_filter_call *, const sluice_header_edit *);
    /* Sends the message to this address too. It is rewritten and aliases are expanded, as for mail that comes in. */
    uint32_t (*add_recipient)(const sluice_filter_call *, sluice_text address);
    /* Takes a recipient away. Nobody is told of it. */
    uint32_t (*withdraw)(const sluice_filter_call *, uint32_t index);
    /* Milliseconds that are left for the verdict. */
    uint64_t (*time_left)(const sluice_filter_call *);
} sluice_filtering;

/* The host's callbacks. The table lives until the process ends; every callback may be called from any thread. */
typedef struct sluice_host {
    /* ABI_VERSION of the host. */
    uint32_t abi_version;
    /* Size of this structure as the host knows it. */
    uint32_t size;
    /* Waits at most timeout_ms for something to do. Stores a delivery through the last argument only when it
     * answers NEXT_DELIVERY.
     */
    uint32_t (*next)(const sluice_worker *, uint64_t timeout_ms, const sluice_delivery **);
    /* Says what became of one recipient; once each. */
    uint32_t (*settle)(const sluice_worker *, uint64_t token, uint32_t index, const sluice_outcome *);
    /* Gives the delivery's bytes back. Recipients that were not settled are deferred. */
    uint32_t (*finish)(const sluice_worker *, uint64_t token);
    /* Milliseconds until the delivery is taken away; 0 when it is not, or no longer, with this worker. */
    uint64_t (*deadline)(const sluice_worker *, uint64_t token);
    /* Writes a line to the host's log: channel, level, message id (may be absent), text. */
    void (*log)(const sluice_channel *, uint32_t level, sluice_text id, sluice_text text);
    /* Tells why this thread's create or run is about to fail; the last word before it returns counts. */
    void (*explain)(const sluice_channel *, sluice_text text);
    /* Takes a message from a worker, and waits until it is durable or refused. Null in a host that is older than this field. */
    uint32_t (*enqueue)(const sluice_worker *, const sluice_submission *);
    /* What this host can do: sum of FEATURE_ bits. Zero in a host that is older than this field, whose sizes and
     * pointers tell the same.
     */
    uint64_t features;
    /* Name and version of the host's program, such as Sluice 0.1.0. Absent in a host that is older than this field. */
    sluice_text program;
} sluice_host;

/* What the data symbol sluice_plugin is. It must not change after the library is loaded. */
typedef struct sluice_plugin_table {
    /* ABI_VERSION that the plugin was built for. */
    uint32_t abi_version;
    /* Size of this structure as the plugin knows it. */
    uint32_t size;
    /* Name: lower-case letters, digits, _ and -, at most 64 bytes. */
    sluice_text name;
    /* Version of the plugin, at most 64 bytes. */
    sluice_text version;
    /* One line for the operator, at most 256 bytes. */
    sluice_text description;
    /* The options; may be null when there is none. */
    const sluice_option_spec *options;
    /* How many options, at most 256. */
    size_t option_count;
    /* Distance in bytes from one option to the next. */
    uint32_t option_size;
    /* Zero. */
    uint32_t reserved;
    /* Makes a channel of the settings and stores whatever pointer the plugin wants to see again. */
    int32_t (*create)(const sluice_host *, const sluice_create *, void **channel);
    /* Works until Host.next answers NEXT_STOP. Called on several threads at once with the same channel. */
    int32_t (*run)(void *channel, const sluice_worker *);
    /* Wakes whatever the channel's workers wait for outside the host. Must return at once. */
    void (*stop)(void *channel);
    /* Frees the channel. Called once, after every run has returned. */
    void (*destroy)(void *channel);
    /* Answers $[image,routine,argument] of rewrite rules and mapping tables: stores at most room bytes of UTF-8 and
     * their number. Called on any thread, several at once, with or without a channel. Null when there is no routine.
     */
    uint32_t (*route)(sluice_text routine, sluice_text argument, uint8_t *answer, size_t room, size_t *length);
    /* Names of the routines: letters, digits, _, - and ., at most 64 bytes each. Null when there is none. */
    const sluice_text *routines;
    /* How many routines, at most 256. */
    size_t routine_count;
    /* Looks at a whole message before it is queued, changes it through the last argument, and answers with a FILTER_
     * constant. run need not have been called. Called on any thread, several at once with the same channel. Null when
     * the plugin is no filter.
     */
    uint32_t (*filter)(void *channel, const sluice_filter_message *, const sluice_filtering *);
    /* What this plugin does, beside what the pointers above tell: sum of FEATURE_ bits. Not in a table whose size is 144. */
    uint64_t features;
    /* What the host must be able to do for this plugin: sum of FEATURE_ bits. A host that cannot do all of it does not
     * load the plugin, and names what it lacks. Not in a table whose size is 152.
     */
    uint64_t needs;
} sluice_plugin_table;

/* Every plugin defines this one symbol. */
extern SLUICE_EXPORT const sluice_plugin_table sluice_plugin;

#ifdef __cplusplus
}
#endif

#endif
