package flowcontrol

import (
	"context"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// leastPerSecond is how many writes and lists a second, and how many removals, an App may send at least while the API server is slow
	// and another App is active; or leastShare of its rate, if that is more.
	leastPerSecond = 25
	leastShare     = 0.25
	// burstTime is how long an App saves up its rate of writes and lists, to send them at once then.
	burstTime = 200 * time.Millisecond
)

// pace sets an App's rates to the part that the API server's speed leaves them, and reports whether that is less than all.
func (a *Apps) pace(name types.NamespacedName, state *app) (slow bool) {
	if a.Pace == nil {
		return false
	}
	share := a.Pace.Share()
	a.mu.Lock()
	defer a.mu.Unlock()
	perSecond, burst := state.limits.PerSecond, state.limits.Burst
	slow = share < 1 && a.othersActive(name)
	if slow {
		burst = min(burst, max(1, int(perSecond*burstTime.Seconds())))
		perSecond = max(perSecond*max(share, leastShare), min(perSecond, leastPerSecond))
	}
	setRate(state.writes, perSecond, burst)
	setRate(state.removals, perSecond, state.limits.Burst)
	return slow
}

func setRate(limiter *rate.Limiter, perSecond float64, burst int) {
	if limiter.Limit() != rate.Limit(perSecond) {
		limiter.SetLimit(rate.Limit(perSecond))
	}
	if limiter.Burst() != burst {
		limiter.SetBurst(burst)
	}
}

// waitPaced has writes and lists wait for their part of the App's rate. What one costs beyond an ordinary request, those after it
// wait for: so that also one that costs more than a second has to give goes through.
func waitPaced(ctx context.Context, state *app, class Class, cost int, limit time.Duration) error {
	if class == Removal || class == LookUp {
		return nil
	}
	if err := waitRate(ctx, state.writes, limit); err != nil {
		return err
	}
	now := time.Now()
	for left := min(cost, maxCost) - 1; left > 0; {
		some := min(left, state.writes.Burst())
		state.writes.ReserveN(now, some)
		left -= some
	}
	return nil
}

// maxCost bounds what one request costs: ten seconds of the least rate.
const maxCost = 10 * leastPerSecond
