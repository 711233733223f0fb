package policy

import "testing"

func TestAContactWaitsOnce(t *testing.T) {
	for _, c := range []struct{ first, now, delay, wait uint64 }{
		{1000, 1000, 60, 60}, {1000, 1059, 60, 1}, {1000, 1060, 60, 0}, {0, 1060, 60, 0},
	} {
		if got := Wait(c.first, c.now, c.delay); got != c.wait {
			t.Errorf("Wait(%d, %d, %d) = %d, not %d", c.first, c.now, c.delay, got, c.wait)
		}
	}
}

func TestAConfigurationThatMakesNoSenseIsRefused(t *testing.T) {
	for _, text := range []string{"", "-1", "86401", "5 min"} {
		if _, err := Delay(text); err == nil {
			t.Errorf("delay-s = %q is taken", text)
		}
	}
	if _, err := RejectAt("1.5"); err == nil {
		t.Error("reject-at = 1.5 is taken")
	}
	if delay, err := Delay("86400"); delay != 86400 || err != nil {
		t.Error("delay-s = 86400 is refused")
	}
}
