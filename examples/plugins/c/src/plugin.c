// greylist-c: asks strangers to come back later, and scores mail with a certain word in it.
//
// Who frees: texts that come from the gateway are ours to free, arguments included; what a hook answers is
// freed after the answer was read, so it is copied into memory of its own (plugin_string_dup).

#include "plugin.h"
#include "policy.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Who has been told to come back is remembered for a day.
static uint32_t remembered_s = 86400;

typedef waypost_plugin_types_verdict_t verdict_t;
typedef waypost_plugin_types_error_t error_t;

// A text for the length of a call: nothing is copied.
static plugin_string_t text(const char *s) {
    plugin_string_t borrowed;
    plugin_string_set(&borrowed, s);
    return borrowed;
}

static bool configured(const char *name, plugin_string_t *found) {
    plugin_string_t key = text(name);
    return waypost_plugin_config_get(&key, found);
}

static void answer(verdict_t *ret, uint8_t tag, uint16_t code, const char *enhanced, const char *says) {
    // Both kinds of reply lie at the same place.
    waypost_plugin_types_reply_t *reply = &ret->val.reject;
    ret->tag = tag;
    reply->code = code;
    reply->enhanced.is_some = true;
    plugin_string_dup(&reply->enhanced.val, enhanced);
    plugin_string_dup(&reply->text, says);
}

// ---- Configuration ----

// A number of the configuration, or `otherwise` where none is given. False: what is given is no such number,
// and `err`, if asked for, says so.
static bool number(const char *name, const char *expected, int64_t least, int64_t most, int64_t otherwise,
                   int64_t *value, plugin_string_t *err) {
    plugin_string_t found;
    *value = otherwise;
    if (!configured(name, &found)) {
        return true;
    }
    bool good = policy_number(found.ptr, found.len, least, most, value);
    if (!good && err != NULL) {
        size_t room = found.len + strlen(name) + strlen(expected) + 32;
        char *line = malloc(room);
        snprintf(line, room, "%s: expected %s, got \"%.*s\"", name, expected, (int)found.len, (const char *)found.ptr);
        plugin_string_dup(err, line);
        free(line);
    }
    plugin_string_free(&found);
    return good;
}

static bool delay_s(int64_t *value, plugin_string_t *err) {
    return number("delay-s", "whole seconds from 0 to 86400", 0, LONGEST_DELAY, DEFAULT_DELAY, value, err);
}

// More than any score where none is given.
static bool reject_at(int64_t *value, plugin_string_t *err) {
    return number("reject-at", "a whole number", INT32_MIN, INT32_MAX, INT64_MAX, value, err);
}

bool exports_waypost_plugin_setup_validate(plugin_string_t *err) {
    int64_t ignored;
    return delay_s(&ignored, err) && reject_at(&ignored, err);
}

// ---- Greylisting ----

static const char *error_name(const error_t *error) {
    static const char *const names[] = {"denied", "invalid", "not-found", "limit", "unavailable", "other"};
    return error->tag < sizeof names / sizeof *names ? names[error->tag] : "other";
}

// The contact's name: address, sender (empty for bounces) and recipient.
static char *contact(const plugin_string_t *recipient) {
    plugin_string_t ip, sender;
    waypost_plugin_session_peer_ip(&ip);
    if (!waypost_plugin_transaction_sender(&sender)) {
        plugin_string_dup(&sender, "");
    }
    size_t room = ip.len + sender.len + recipient->len + 3;
    char *key = malloc(room);
    int before = snprintf(key, room, "%.*s|%.*s|", (int)ip.len, (const char *)ip.ptr, (int)sender.len,
                          (const char *)sender.ptr);
    snprintf(key + before, room - before, "%.*s", (int)recipient->len, (const char *)recipient->ptr);
    policy_lower(key + before, recipient->len);
    plugin_string_free(&ip);
    plugin_string_free(&sender);
    return key;
}

// The seconds to wait still; false where there is no state to tell from.
static bool greylist(char *contact, uint64_t delay, uint64_t *wait, error_t *error) {
    uint64_t now = (uint64_t)time(NULL);
    plugin_string_t key = text(contact), counter = text("deferred");
    plugin_option_list_u8_t found;
    if (!waypost_plugin_kv_get(&key, &found, error)) {
        return false;
    }
    if (found.is_some) {
        int64_t first;
        // What isn't a time is not ours, and was here long ago.
        bool known = policy_number(found.val.ptr, found.val.len, 0, INT64_MAX, &first);
        *wait = policy_wait(known ? (uint64_t)first : 0, now, delay);
        plugin_option_list_u8_free(&found);
        return true;
    }
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, now);
    plugin_list_u8_t value = {(uint8_t *)digits, strlen(digits)};
    bool added;
    int64_t counted;
    *wait = delay;
    return waypost_plugin_kv_add(&key, &value, &remembered_s, &added, error) &&
           waypost_plugin_kv_increment(&counter, 1, NULL, &counted, error);
}

// Mail is more important than a list of who was here.
static void warn(error_t *error) {
    const char *name = error_name(error);
    char line[40];
    snprintf(line, sizeof line, "no state: %s", name);
    plugin_string_t message = text(line);
    plugin_tuple2_string_string_t field = {text("error"), text(name)};
    plugin_list_tuple2_string_string_t fields = {&field, 1};
    waypost_plugin_log_write(WAYPOST_PLUGIN_LOG_LEVEL_WARN, &message, &fields);
    waypost_plugin_types_error_free(error);
}

void exports_waypost_plugin_on_recipient_check_recipient(plugin_string_t *address, verdict_t *ret) {
    int64_t delay;
    ret->tag = WAYPOST_PLUGIN_TYPES_VERDICT_PASS;
    if (!delay_s(&delay, NULL)) {
        // A configuration that setup refused never gets here.
        delay = DEFAULT_DELAY;
    }
    if (delay > 0) {
        uint64_t wait;
        error_t error;
        char *key = contact(address);
        if (!greylist(key, (uint64_t)delay, &wait, &error)) {
            warn(&error);
        } else if (wait > 0) {
            char line[60];
            snprintf(line, sizeof line, "greylisted, come back in %" PRIu64 " s", wait);
            answer(ret, WAYPOST_PLUGIN_TYPES_VERDICT_TEMPFAIL, 451, "4.7.1", line);
        }
        free(key);
    }
    plugin_string_free(address);
}

// ---- Scoring ----

static void note(const char *name, int32_t score) {
    plugin_string_t field = text("subject"), subject;
    if (!waypost_plugin_message_header(&field, &subject)) {
        plugin_string_dup(&subject, "-");
    }
    size_t room = subject.len + 80;
    char *line = malloc(room);
    snprintf(line, room, "size=%" PRIu64 " subject=%.*s score=%" PRId32, waypost_plugin_message_size(),
             (int)subject.len, (const char *)subject.ptr, score);
    plugin_string_t header = text(name), value = text(line);
    error_t error;
    // A subject that cannot be put into a field is no reason to keep the mail.
    if (!waypost_plugin_message_add_header(&header, &value, &error)) {
        waypost_plugin_types_error_free(&error);
    }
    plugin_string_free(&subject);
    free(line);
}

void exports_waypost_plugin_on_message_check_message(verdict_t *ret) {
    plugin_string_t word;
    if (!configured("word", &word)) {
        plugin_string_dup(&word, "unsubscribe");
    }
    plugin_list_u8_t needle = {word.ptr, word.len};
    uint64_t at;
    if (waypost_plugin_message_find(&needle, 0, &at)) {
        plugin_string_t symbol = text("WORD");
        waypost_plugin_transaction_add_score(150, &symbol);
    }
    plugin_string_free(&word);

    int32_t score = waypost_plugin_transaction_score();
    int64_t limit;
    note("X-Example", score);
    ret->tag = WAYPOST_PLUGIN_TYPES_VERDICT_PASS;
    if (reject_at(&limit, NULL) && score >= limit) {
        char line[60];
        snprintf(line, sizeof line, "too much like spam: score %" PRId32, score);
        answer(ret, WAYPOST_PLUGIN_TYPES_VERDICT_REJECT, 550, "5.7.1", line);
    }
}
