package removalfirst

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var removals Removals
		waited := func() time.Duration {
			begun := time.Now()
			removals.Yield(t.Context(), time.Second)
			return time.Since(begun)
		}
		if got := waited(); got != 0 {
			t.Errorf("waited %s for no removal", got)
		}
		endFirst, endSecond := removals.Begin(), removals.Begin()
		time.AfterFunc(100*time.Millisecond, endFirst)
		time.AfterFunc(150*time.Millisecond, endFirst) // a second time: it must not count for the other one
		time.AfterFunc(300*time.Millisecond, endSecond)
		if got := waited(); got != 300*time.Millisecond {
			t.Errorf("waited %s, not until the last removal was over", got)
		}
		if got := waited(); got != 0 {
			t.Errorf("waited %s after all were over", got)
		}
		defer removals.Begin()()
		if got := waited(); got != time.Second {
			t.Errorf("waited %s, not as long as it may", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		begun := time.Now()
		removals.Yield(ctx, time.Second)
		if got := time.Since(begun); got != 50*time.Millisecond {
			t.Errorf("waited %s beyond the context", got)
		}
	})
}

func TestLately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var removals Removals
		if removals.Lately(time.Hour) {
			t.Error("there has been none")
		}
		end := removals.Begin()
		time.Sleep(time.Minute)
		if !removals.Lately(time.Second) {
			t.Error("one is under way")
		}
		end()
		time.Sleep(999 * time.Millisecond)
		if !removals.Lately(time.Second) {
			t.Error("one ended a moment ago")
		}
		time.Sleep(time.Millisecond)
		if removals.Lately(time.Second) {
			t.Error("the last one ended long ago")
		}
	})
}
