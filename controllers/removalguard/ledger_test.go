package removalguard

import (
	"fmt"
	"testing"
	"time"
)

func TestLedger(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	const most, window = 2, time.Hour
	type step struct {
		minute  int
		user    string
		wasHeld bool
		release string
		want    answer
	}
	for name, test := range map[string]struct {
		prepare func(*ledger)
		steps   []step
	}{
		"up to the limit, then no more": {steps: []step{
			{0, "a", false, "", record}, {1, "b", false, "", record}, {2, "c", false, "", hold}, {3, "c", false, "", hold},
		}},
		"a counted user may lose more": {steps: []step{
			{0, "a", false, "", record}, {1, "a", false, "", record}, {2, "b", false, "", record}, {3, "a", false, "", record},
		}},
		"the window slides": {steps: []step{
			{0, "a", false, "", record}, {30, "b", false, "", record}, {59, "c", false, "", hold},
			{60, "d", false, "", record}, {61, "e", false, "", hold}, {90, "f", false, "", record},
		}},
		"a held user stays held when the window has passed": {steps: []step{
			{0, "a", false, "", record}, {0, "b", false, "", record}, {1, "c", false, "", hold}, {200, "c", false, "", hold},
		}},
		"the status tells which users were held before a restart": {steps: []step{{0, "c", true, "", hold}, {1, "c", false, "", hold}}},
		"a release frees the held users, and none that is held later": {steps: []step{
			{0, "a", false, "", record}, {0, "b", false, "", record}, {0, "c", false, "", hold}, {0, "d", false, "", hold},
			{1, "e", false, "x", hold}, {1, "c", true, "x", let}, {1, "e", true, "x", hold}, {2, "d", true, "x", let}, {2, "c", true, "x", let},
			{3, "e", true, "y", let},
		}},
		"a release after a restart": {steps: []step{{0, "c", true, "x", let}, {0, "d", false, "x", record}, {0, "e", false, "x", record}, {0, "f", false, "x", hold}, {1, "f", true, "x", hold}}},
		"what an earlier process counted": {
			prepare: func(l *ledger) { l.earlier, l.since = 2, start.Add(-30*time.Minute) },
			steps:   []step{{0, "a", false, "", hold}, {29, "b", false, "", hold}, {30, "d", false, "", record}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			if test.prepare != nil {
				test.prepare(l)
			}
			for i, step := range test.steps {
				now := start.Add(time.Duration(step.minute) * time.Minute)
				l.expire(now, window)
				l.begin(step.release)
				if got := l.ask(step.user, step.wasHeld, most, now); got != step.want {
					t.Errorf("step %d: %s is answered %d, want %d", i, step.user, got, step.want)
				}
			}
		})
	}
}

// A removal that is written is let through without another write; a release begins anew.
func TestLedgerRelease(t *testing.T) {
	l, now := newLedger(), time.Now()
	for i := range 3 {
		l.ask(fmt.Sprint(i), false, 3, now)
	}
	l.written["1"] = true
	if got := l.ask("1", false, 3, now); got != let {
		t.Errorf("a removal that is written is answered %d", got)
	}
	if removals := l.status(); removals.Count != 3 || removals.Since == nil || removals.Held != 0 {
		t.Errorf("status %+v", removals)
	}
	if got := l.ask("late", false, 3, now); got != hold {
		t.Errorf("the fourth is answered %d", got)
	}
	l.begin("x")
	l.conclude()
	if removals := l.status(); removals.Count != 3 || removals.Held != 1 || removals.Released != "" {
		t.Errorf("status before all went %+v", removals)
	}
	l.settle("late")
	l.conclude()
	l.begin("x") // once
	if removals := l.status(); removals.Count != 0 || removals.Since != nil || removals.Released != "x" {
		t.Errorf("status after the release %+v", removals)
	}
	if got := l.ask("4", false, 3, now); got != record {
		t.Errorf("after the release a new user is answered %d", got)
	}
}
