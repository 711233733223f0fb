// Decides who has waited long enough, and what a configuration must say. Asks nothing of the gateway.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DEFAULT_DELAY = 300, LONGEST_DELAY = 86400 };

// Seconds that a contact has to wait still, 0 where it may come in.
uint64_t policy_wait(uint64_t first, uint64_t now, uint64_t delay);

// Whole numbers, all of the text; false where it is none, or out of bounds.
bool policy_number(const uint8_t *text, size_t len, int64_t least, int64_t most, int64_t *number);

// ASCII only: other letters in an address are told apart byte for byte.
void policy_lower(char *text, size_t len);
