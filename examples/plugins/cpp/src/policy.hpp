// Decides who has waited long enough, and what a configuration must say. Asks nothing of the gateway.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace policy {

inline constexpr uint64_t default_delay = 300, longest_delay = 86400;

// Seconds that a contact has to wait still, 0 where it may come in.
constexpr uint64_t wait(uint64_t first, uint64_t now, uint64_t delay) {
    return now >= first + delay ? 0 : first + delay - now;
}
static_assert(wait(1000, 1000, 60) == 60);
static_assert(wait(1000, 1059, 60) == 1);
static_assert(wait(1000, 1060, 60) == 0);

// A whole number, all of the text.
template <class T> std::optional<T> number(std::string_view text) {
    T value;
    auto end = text.data() + text.size();
    auto [read, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || read != end) {
        return std::nullopt;
    }
    return value;
}

// Names a contact. The sender is empty for bounces.
inline std::string key(std::string_view ip, std::string_view sender, std::string_view recipient) {
    std::string key;
    key.append(ip).append("|").append(sender).append("|");
    for (char c : recipient) {
        // ASCII only: other letters in an address are told apart byte for byte.
        key += c >= 'A' && c <= 'Z' ? char(c + ('a' - 'A')) : c;
    }
    return key;
}

} // namespace policy
