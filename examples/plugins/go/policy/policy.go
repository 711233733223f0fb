// Package policy decides who has waited long enough, and what a configuration must say. It asks nothing of the
// gateway, so that `go test ./policy` can try it.
package policy

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	DefaultDelay = 300
	longestDelay = 86400
)

// Wait is the seconds that a contact has to wait still, 0 where it may come in.
func Wait(first, now, delay uint64) uint64 {
	if now >= first+delay {
		return 0
	}
	return first + delay - now
}

// Key names a contact. The sender is empty for bounces.
func Key(ip, sender, recipient string) string {
	return ip + "|" + sender + "|" + lower(recipient)
}

// Delay reads the configured seconds.
func Delay(text string) (uint64, error) {
	seconds, err := strconv.ParseUint(text, 10, 64)
	if err != nil || seconds > longestDelay {
		return 0, fmt.Errorf("delay-s: expected whole seconds from 0 to %d, got \"%s\"", longestDelay, text)
	}
	return seconds, nil
}

// RejectAt reads the score from which on mail is refused, in hundredths of a point.
func RejectAt(text string) (int32, error) {
	score, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("reject-at: expected a whole number, got \"%s\"", text)
	}
	return int32(score), nil
}

// ASCII only: other letters in an address are told apart byte for byte.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}
