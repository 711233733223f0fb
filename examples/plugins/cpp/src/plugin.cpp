// greylist-cpp: asks strangers to come back later, and scores mail with a certain word in it.

#include "plugin_cpp.h"
#include "policy.hpp"
#include <ctime>

using namespace waypost::plugin;
using types::Error;
using types::Verdict;
namespace hooks = exports::waypost::plugin;

// Who has been told to come back is remembered for a day.
static constexpr uint32_t remembered_s = 86400;

static std::span<const uint8_t> bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

static types::Reply reply(uint16_t code, std::string_view enhanced, std::string_view text) {
    return {.code = code, .enhanced = wit::string::from_view(enhanced), .text = wit::string::from_view(text)};
}

// ---- Configuration ----

static std::unexpected<std::string> wrong(std::string_view name, std::string_view expected, std::string_view got) {
    std::string text;
    text.append(name).append(": expected ").append(expected).append(", got \"").append(got).append("\"");
    return std::unexpected(text);
}

static std::expected<uint64_t, std::string> delay() {
    auto text = config::Get("delay-s");
    if (!text) {
        return policy::default_delay;
    }
    auto seconds = policy::number<uint64_t>(text->get_view());
    if (!seconds || *seconds > policy::longest_delay) {
        return wrong("delay-s", "whole seconds from 0 to 86400", text->get_view());
    }
    return *seconds;
}

static std::expected<std::optional<int32_t>, std::string> reject_at() {
    auto text = config::Get("reject-at");
    if (!text) {
        return std::nullopt;
    }
    auto score = policy::number<int32_t>(text->get_view());
    if (!score) {
        return wrong("reject-at", "a whole number", text->get_view());
    }
    return score;
}

std::expected<void, wit::string> hooks::setup::Validate() {
    if (auto seconds = delay(); !seconds) {
        return std::unexpected(wit::string::from_view(seconds.error()));
    }
    if (auto score = reject_at(); !score) {
        return std::unexpected(wit::string::from_view(score.error()));
    }
    return {};
}

// ---- Greylisting ----

static std::string_view name(const Error &error) {
    static constexpr std::string_view names[] = {"denied", "invalid", "not-found", "limit", "unavailable", "other"};
    return names[error.variants.index()];
}

// The seconds to wait still.
static std::expected<uint64_t, Error> greylist(std::string_view key, uint64_t delay) {
    auto now = uint64_t(std::time(nullptr));
    auto found = kv::Get(key);
    if (!found) {
        return std::unexpected(std::move(found.error()));
    }
    if (auto &value = *found) {
        auto text = std::string_view(reinterpret_cast<const char *>(value->data()), value->size());
        // What isn't a time is not ours, and was here long ago.
        return policy::wait(policy::number<uint64_t>(text).value_or(0), now, delay);
    }
    if (auto added = kv::Add(key, bytes(std::to_string(now)), remembered_s); !added) {
        return std::unexpected(std::move(added.error()));
    }
    if (auto counted = kv::Increment("deferred", 1, std::nullopt); !counted) {
        return std::unexpected(std::move(counted.error()));
    }
    return delay;
}

Verdict hooks::on_recipient::CheckRecipient(wit::string address) {
    // A configuration that setup refused never gets here.
    auto seconds = delay().value_or(policy::default_delay);
    if (seconds == 0) {
        return {Verdict::Pass{}};
    }
    auto ip = session::PeerIp();
    auto sender = transaction::Sender();
    auto from = sender ? sender->get_view() : std::string_view();
    auto wait = greylist(policy::key(ip.get_view(), from, address.get_view()), seconds);
    if (!wait) {
        // Mail is more important than a list of who was here.
        std::tuple<std::string_view, std::string_view> fields[] = {{"error", name(wait.error())}};
        log::Write(log::Level::kWarn, std::string("no state: ").append(name(wait.error())), fields);
        return {Verdict::Pass{}};
    }
    if (*wait == 0) {
        return {Verdict::Pass{}};
    }
    return {Verdict::Tempfail{reply(451, "4.7.1", "greylisted, come back in " + std::to_string(*wait) + " s")}};
}

// ---- Scoring ----

Verdict hooks::on_message::CheckMessage() {
    auto word = config::Get("word");
    if (message::Find(bytes(word ? word->get_view() : "unsubscribe"), 0)) {
        transaction::AddScore(150, "WORD");
    }
    auto score = transaction::Score();
    auto subject = message::Header("subject");
    auto value = "size=" + std::to_string(message::Size()) + " subject=" + (subject ? subject->to_string() : "-") +
                 " score=" + std::to_string(score);
    // A subject that cannot be put into a field is no reason to keep the mail.
    (void)message::AddHeader("X-Example", value);
    auto limit = reject_at();
    if (limit && *limit && score >= **limit) {
        return {Verdict::Reject{reply(550, "5.7.1", "too much like spam: score " + std::to_string(score))}};
    }
    return {Verdict::Pass{}};
}
