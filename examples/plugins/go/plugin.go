// Package plugin is greylist-go: it asks strangers to come back later, and scores mail with a certain word in it.
package plugin

import (
	"fmt"
	"strconv"
	"time"

	"greylist-go/gen/config"
	"greylist-go/gen/kv"
	"greylist-go/gen/log"
	"greylist-go/gen/message"
	"greylist-go/gen/session"
	"greylist-go/gen/transaction"
	"greylist-go/gen/types"
	"greylist-go/gen/wit"
	"greylist-go/policy"
)

// Who has been told to come back is remembered for a day.
const rememberedS = 86400

func Validate() error {
	if _, err := delay(); err != nil {
		return err
	}
	_, _, err := rejectAt()
	return err
}

func CheckRecipient(address string) types.Verdict {
	seconds, err := delay()
	if err != nil {
		// A configuration that Validate refused never gets here.
		seconds = policy.DefaultDelay
	}
	if seconds == 0 {
		return types.MakeVerdictPass()
	}
	key := policy.Key(session.PeerIp(), transaction.Sender().SomeOr(""), address)
	wait, failed := greylist(key, seconds)
	if failed != nil {
		// Mail is more important than a list of who was here.
		name := errorName(*failed)
		log.Write(log.Level_Warn, "no state: "+name, []wit.Tuple2[string, string]{{F0: "error", F1: name}})
		return types.MakeVerdictPass()
	}
	if wait == 0 {
		return types.MakeVerdictPass()
	}
	return types.MakeVerdictTempfail(types.Reply{
		Code:     451,
		Enhanced: wit.Some("4.7.1"),
		Text:     fmt.Sprintf("greylisted, come back in %d s", wait),
	})
}

func CheckMessage() types.Verdict {
	word := config.Get("word").SomeOr("unsubscribe")
	if message.Find([]byte(word), 0).IsSome() {
		transaction.AddScore(150, "WORD")
	}
	score := transaction.Score()
	subject := message.Header("subject").SomeOr("-")
	// A subject that cannot be put into a field is no reason to keep the mail.
	message.AddHeader("X-Example", fmt.Sprintf("size=%d subject=%s score=%d", message.Size(), subject, score))
	if limit, given, err := rejectAt(); given && err == nil && score >= limit {
		return types.MakeVerdictReject(types.Reply{
			Code:     550,
			Enhanced: wit.Some("5.7.1"),
			Text:     fmt.Sprintf("too much like spam: score %d", score),
		})
	}
	return types.MakeVerdictPass()
}

// The seconds to wait still.
func greylist(key string, delay uint64) (uint64, *types.Error) {
	now := uint64(time.Now().Unix())
	found := kv.Get(key)
	if found.IsErr() {
		return 0, failure(found.Err())
	}
	if value, known := found.Ok().Get(); known {
		// What isn't a time is not ours, and was here long ago.
		first, _ := strconv.ParseUint(string(value), 10, 64)
		return policy.Wait(first, now, delay), nil
	}
	added := kv.Add(key, strconv.AppendUint(nil, now, 10), wit.Some[uint32](rememberedS))
	if added.IsErr() {
		return 0, failure(added.Err())
	}
	if counted := kv.Increment("deferred", 1, wit.None[uint32]()); counted.IsErr() {
		return 0, failure(counted.Err())
	}
	return delay, nil
}

func failure(err types.Error) *types.Error { return &err }

func errorName(err types.Error) string {
	switch err.Tag() {
	case types.Error_Denied:
		return "denied"
	case types.Error_Invalid:
		return "invalid"
	case types.Error_NotFound:
		return "not-found"
	case types.Error_Limit:
		return "limit"
	case types.Error_Unavailable:
		return "unavailable"
	default:
		return "other"
	}
}

func delay() (uint64, error) {
	if text, given := config.Get("delay-s").Get(); given {
		return policy.Delay(text)
	}
	return policy.DefaultDelay, nil
}

func rejectAt() (limit int32, given bool, err error) {
	text, given := config.Get("reject-at").Get()
	if given {
		limit, err = policy.RejectAt(text)
	}
	return limit, given, err
}
