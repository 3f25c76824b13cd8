package flowcontrol

import (
	"testing"
	"testing/synctest"
	"time"
)

type fixedPace float64

func (p fixedPace) Share() float64 { return float64(p) }

// While the API server is slow, an App's writes and lists slow down beside another App, and its removals apart from those; never
// below what an identity provider sends, and not where the App is alone.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name   string
		share  float64
		beside bool
		class  Class
		cost   int
		limit  float64
		want   int // a second
	}{
		{"alone", 0.1, false, Write, 1, 200, 200},
		{"a fast API server", 1, true, Write, 1, 200, 200},
		{"half", 0.5, true, Write, 1, 200, 100},
		{"the least of an ordinary App", 0.01, true, Write, 1, 50, leastPerSecond},
		{"the least of an App with a high limit", 0.01, true, Write, 1, 200, 50},
		{"an App with the lowest limit", 0.01, true, Write, 1, 25, 25},
		{"large writes", 0.01, true, Write, 5, 50, leastPerSecond / 5},
		{"large writes alone", 0.01, false, Write, 5, 200, 200},
		{"large writes and a fast API server", 1, true, Write, 5, 200, 200},
		{"lists", 0.01, true, List, 1, 50, leastPerSecond},
		{"look-ups", 0.01, true, LookUp, 1, 200, 200},
		{"removals", 0.01, true, Removal, 1, 50, leastPerSecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				apps := NewApps(0, DefaultMemory)
				apps.Pace = fixedPace(c.share)
				if c.beside {
					leave, err := apps.Enter(t.Context(), other, limits, LookUp, 1)
					if err != nil {
						t.Fatal(err)
					}
					defer leave()
				}
				const seconds = 10
				begun, count := time.Now(), 0
				for time.Since(begun) < seconds*time.Second {
					enter := apps.EnterOperation
					if count%2 == 0 {
						enter = apps.Enter
					}
					leave, err := enter(t.Context(), one, Limits{PerSecond: c.limit, Burst: 5}, c.class, c.cost)
					if err != nil {
						t.Fatal(err)
					}
					leave()
					count++
				}
				if got := count / seconds; got < c.want-1 || got > c.want+1 {
					t.Errorf("%d a second", got)
				}
			})
		})
	}
}
