#include "policy.h"

uint64_t policy_wait(uint64_t first, uint64_t now, uint64_t delay) {
    return now >= first + delay ? 0 : first + delay - now;
}

bool policy_number(const uint8_t *text, size_t len, int64_t least, int64_t most, int64_t *number) {
    bool negative = len > 0 && text[0] == '-';
    size_t at = negative;
    int64_t value = 0;
    // Eighteen digits always fit.
    if (at == len || len - at > 18) {
        return false;
    }
    for (; at < len; at++) {
        if (text[at] < '0' || text[at] > '9') {
            return false;
        }
        value = value * 10 + (text[at] - '0');
    }
    *number = negative ? -value : value;
    return *number >= least && *number <= most;
}

void policy_lower(char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (text[i] >= 'A' && text[i] <= 'Z') {
            text[i] += 'a' - 'A';
        }
    }
}
