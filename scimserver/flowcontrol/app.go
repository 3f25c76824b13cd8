package flowcontrol

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/removalfirst"
)

// Class is what a request costs.
type Class int

const (
	// Removal takes access away: a deactivation or a deletion. It never waits for another class.
	Removal Class = iota
	// LookUp reads one resource, or the few that an index finds.
	LookUp
	// Write creates or changes a resource.
	Write
	// List reads many resources: pages, sorts, and filters that no index answers.
	List
)

const (
	// seats are what an App's requests under way share, removals apart, which have as many of their own.
	seats = 64
	// quietAfter is how long an App without a request counts as active.
	quietAfter = 5 * time.Second
	// maxRateWait bounds how long a request waits for the App's rate; one that would wait longer is refused at once.
	maxRateWait = 2 * time.Second
	// maxSeatWait bounds how long a request waits for a seat.
	maxSeatWait = 10 * time.Second
	// maxWaiting bounds how many requests of an App wait for a seat.
	maxWaiting = 256
	// retrySeat is what a client is told where all seats are taken.
	retrySeat = 5 * time.Second
	// forgetAfter is how long an App without requests is remembered.
	forgetAfter = 10 * time.Minute
)

// Limits are an App's.
type Limits struct {
	// PerSecond is how many requests a second the App may send for long; operations of a bulk request count one each.
	PerSecond float64
	// Burst is how many it may send at once after a pause.
	Burst int
}

// Apps shares one process between Apps. Use NewApps. Safe for concurrent use; its memory is bounded by the number of Apps that
// sent a request in the last ten minutes.
type Apps struct {
	ceiling float64
	scans   *scanShares
	memory  *semaphore.Weighted
	holding holding
	// removing are the removals of all Apps.
	removing removalfirst.Removals
	// Pace is the part of its rate at which an App may write while another one is active; nil for all of it.
	Pace interface{ Share() float64 }

	mu     sync.Mutex
	apps   map[types.NamespacedName]*app
	pruned time.Time
}

type app struct {
	limits Limits
	// requests and removals are filled at the same rate: neither class takes the other's.
	requests, removals *rate.Limiter
	// writes has the rate of requests, or a part of it.
	writes               *rate.Limiter
	seats, removalSeats  *semaphore.Weighted
	bulks, removingBulks *semaphore.Weighted
	operations           *semaphore.Weighted
	memory               *semaphore.Weighted
	slices               *semaphore.Weighted
	removing             removalfirst.Removals
	removalsUnderWay     int
	// creates under way; created is closed when the next one ends, nil while none waits for that.
	creates  int
	created  chan struct{}
	waiting  int
	lastSeen time.Time
	underWay int
}

// NewApps returns the shares of one process. ceiling bounds every App's requests a second, whatever its own limits say; 0 is no
// bound. memory is how many bytes bodies and large answers may hold in all.
func NewApps(ceiling float64, memory int64) *Apps {
	return &Apps{
		ceiling: ceiling, scans: newScanShares(), memory: semaphore.NewWeighted(memory),
		holding: newHolding(), apps: map[types.NamespacedName]*app{}, pruned: time.Now(),
	}
}

// Refused has the answer to a refused request wait for a moment, and reports false where too many wait for theirs: the
// connection is better closed.
func (a *Apps) Refused(ctx context.Context) bool { return a.holding.wait(ctx) }

const (
	// yieldOwn bounds how long a create waits for removals of the same App that are under way.
	yieldOwn = 500 * time.Millisecond
	// yieldOthers bounds it for other Apps' removals: more, and a tenant that deactivates without end slows all others down.
	yieldOthers = 10 * time.Millisecond
	// fewRemovals of another App are waited for. One that has more under way takes users out by the dozen, which goes on, and creates of
	// others would each wait for it.
	fewRemovals = 4
	// fewCreates of an App are under way while users leave it, and for leaversTogether after: the next leaver's requests wait in the API
	// server for all that are under way there.
	fewCreates      = 4
	leaversTogether = 2 * time.Second
)

// BeginRemoval says that a removal of the App is under way until end is called.
func (a *Apps) BeginRemoval(name types.NamespacedName, limits Limits) (end func()) {
	state := a.begin(name, limits)
	a.countRemoval(state, 1)
	endOwn, endAll := state.removing.Begin(), a.removing.Begin()
	return sync.OnceFunc(func() {
		endOwn()
		endAll()
		a.countRemoval(state, -1)
		a.end(state)
	})
}

func (a *Apps) countRemoval(state *app, by int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	state.removalsUnderWay += by
}

// othersRemoveFew says whether another App has removals under way, and only a few.
func (a *Apps) othersRemoveFew(name types.NamespacedName) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, state := range a.apps {
		if other != name && state.removalsUnderWay > 0 && state.removalsUnderWay <= fewRemovals {
			return true
		}
	}
	return false
}

// BeginCreate has what gives access wait for a moment while removals are under way: both go to one API server. The caller calls end when
// the create is done.
func (a *Apps) BeginCreate(ctx context.Context, name types.NamespacedName, limits Limits) (end func()) {
	state := a.begin(name, limits)
	state.removing.Yield(ctx, yieldOwn)
	if a.othersRemoveFew(name) {
		a.removing.Yield(ctx, yieldOthers)
	}
	a.waitForCreates(ctx, state)
	return sync.OnceFunc(func() {
		a.mu.Lock()
		state.creates--
		if state.created != nil {
			close(state.created)
			state.created = nil
		}
		a.mu.Unlock()
		a.end(state)
	})
}

// waitForCreates waits, where users leave the App, until few creates are under way, for yieldOwn at most.
func (a *Apps) waitForCreates(ctx context.Context, state *app) {
	limit := time.NewTimer(yieldOwn)
	defer limit.Stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for waits := true; waits && state.creates >= fewCreates && state.removing.Lately(leaversTogether); {
		if state.created == nil {
			state.created = make(chan struct{})
		}
		created := state.created
		a.mu.Unlock()
		select {
		case <-created:
		case <-limit.C:
			waits = false
		case <-ctx.Done():
			waits = false
		}
		a.mu.Lock()
	}
	state.creates++
}

// Enter lets a request of the App in, once the rate and the App's seats allow it. cost is that of so many ordinary requests, 1 at least.
// The caller calls leave when the request has ended. The error is a *RefusalError, or ctx's.
func (a *Apps) Enter(ctx context.Context, name types.NamespacedName, limits Limits, class Class, cost int) (leave func(), err error) {
	state := a.begin(name, limits)
	limiter, pool := state.requests, state.seats
	if class == Removal {
		limiter, pool = state.removals, state.removalSeats
	}
	size := cost
	if !a.pace(name, state) {
		cost = 1
	}
	if err := waitRate(ctx, limiter, maxRateWait); err != nil {
		a.end(state)
		return nil, err
	}
	if err := waitPaced(ctx, state, class, cost, maxRateWait); err != nil {
		a.end(state)
		return nil, err
	}
	weight := a.weight(name, class, size)
	if err := a.seat(ctx, state, pool, weight); err != nil {
		a.end(state)
		return nil, err
	}
	return sync.OnceFunc(func() { pool.Release(weight); a.end(state) }), nil
}

// EnterOperation is Enter for one operation of a bulk request: it waits for the rate as long as ctx lasts. The error is a
// *RefusalError, or ctx's.
func (a *Apps) EnterOperation(ctx context.Context, name types.NamespacedName, limits Limits, class Class, cost int) (leave func(), err error) {
	state := a.begin(name, limits)
	var held []func()
	release := sync.OnceFunc(func() {
		for _, give := range held {
			give()
		}
		a.end(state)
	})
	take := func(pool *semaphore.Weighted, weight int64) {
		if err == nil {
			if err = acquire(ctx, pool, weight); err == nil {
				held = append(held, func() { pool.Release(weight) })
			}
		}
	}
	limiter, pool := state.removals, state.removalSeats
	if class != Removal {
		limiter, pool = state.requests, state.seats
		take(state.operations, 1)
	}
	size := cost
	if !a.pace(name, state) {
		cost = 1
	}
	if err == nil {
		err = waitRate(ctx, limiter, rate.InfDuration)
	}
	if err == nil {
		err = waitPaced(ctx, state, class, cost, rate.InfDuration)
	}
	take(pool, a.weight(name, class, size))
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// EnterBulk lets a bulk request in: an App has few at a time, for the memory that they take. One that removes access does
// not wait for others that do not. The error is a *RefusalError, or ctx's.
func (a *Apps) EnterBulk(ctx context.Context, name types.NamespacedName, limits Limits, removes bool) (leave func(), err error) {
	state := a.begin(name, limits)
	pool := state.bulks
	if removes {
		pool = state.removingBulks
	}
	if err := a.seat(ctx, state, pool, 1); err != nil {
		a.end(state)
		return nil, err
	}
	return sync.OnceFunc(func() { pool.Release(1); a.end(state) }), nil
}

const (
	// bulksAtOnce is how many bulk requests of an App are under way.
	bulksAtOnce = 4
	// operationsAtOnce is how many of their operations, but for removals, are under way or wait for the App's rate. More would have the
	// App's other requests wait behind them for too long.
	operationsAtOnce = 16
)

func (a *Apps) begin(name types.NamespacedName, limits Limits) *app {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.prune(now)
	state := a.apps[name]
	if a.ceiling > 0 && limits.PerSecond > a.ceiling {
		limits.PerSecond, limits.Burst = a.ceiling, min(limits.Burst, int(burstSeconds*a.ceiling))
	}
	switch {
	case state == nil:
		state = &app{
			limits:   limits,
			requests: rate.NewLimiter(rate.Limit(limits.PerSecond), limits.Burst), removals: rate.NewLimiter(rate.Limit(limits.PerSecond), limits.Burst),
			writes: rate.NewLimiter(rate.Limit(limits.PerSecond), limits.Burst),
			seats:  semaphore.NewWeighted(seats), removalSeats: semaphore.NewWeighted(seats),
			bulks: semaphore.NewWeighted(bulksAtOnce), removingBulks: semaphore.NewWeighted(bulksAtOnce),
			operations: semaphore.NewWeighted(operationsAtOnce),
			memory:     semaphore.NewWeighted(appMemory), slices: semaphore.NewWeighted(a.scans.each),
		}
		a.apps[name] = state
	case state.limits != limits:
		state.limits = limits
		for _, limiter := range []*rate.Limiter{state.requests, state.removals} {
			limiter.SetLimit(rate.Limit(limits.PerSecond))
			limiter.SetBurst(limits.Burst)
		}
	}
	state.lastSeen = now
	state.underWay++
	return state
}

// burstSeconds bounds the burst of an App at the ceiling.
const burstSeconds = 2

func (a *Apps) end(state *app) {
	a.mu.Lock()
	defer a.mu.Unlock()
	state.underWay--
	state.lastSeen = time.Now()
}

// prune forgets Apps that have sent nothing for long.
func (a *Apps) prune(now time.Time) {
	if now.Sub(a.pruned) < time.Minute {
		return
	}
	a.pruned = now
	for name, state := range a.apps {
		if state.underWay == 0 && now.Sub(state.lastSeen) > forgetAfter {
			delete(a.apps, name)
		}
	}
}

// othersActive says whether another App has sent a request a moment ago. The caller holds the mutex.
func (a *Apps) othersActive(name types.NamespacedName) bool {
	now := time.Now()
	for other, state := range a.apps {
		if other != name && (state.underWay > 0 || now.Sub(state.lastSeen) < quietAfter) {
			return true
		}
	}
	return false
}

// waitRate takes one request from the limiter, and waits for it where that takes no longer than the limit.
func waitRate(ctx context.Context, limiter *rate.Limiter, limit time.Duration) error {
	reservation := limiter.Reserve()
	delay := reservation.Delay()
	deadline, bounded := ctx.Deadline()
	if delay > limit || bounded && time.Now().Add(delay).After(deadline) {
		reservation.Cancel()
		return &RefusalError{
			Reason: ReasonRate, RetryAfter: delay,
			Detail: "This App sends more requests a second than it may. Nothing is lost: try again after the seconds that Retry-After names.",
		}
	}
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		reservation.Cancel()
		return ctx.Err()
	}
}

func (a *Apps) seat(ctx context.Context, state *app, pool *semaphore.Weighted, weight int64) error {
	if pool.TryAcquire(weight) {
		return nil
	}
	a.mu.Lock()
	if state.waiting >= maxWaiting {
		a.mu.Unlock()
		return tooMany()
	}
	state.waiting++
	a.mu.Unlock()
	waiting, cancel := context.WithTimeout(ctx, maxSeatWait)
	defer cancel()
	err := acquire(waiting, pool, weight)
	a.mu.Lock()
	state.waiting--
	a.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// acquire turns the end of a deadline into a refusal.
func acquire(ctx context.Context, pool *semaphore.Weighted, weight int64) error {
	err := pool.Acquire(ctx, weight)
	if errors.Is(err, context.DeadlineExceeded) {
		return tooMany()
	}
	return err
}

func tooMany() *RefusalError {
	return &RefusalError{
		Reason: ReasonConcurrency, RetryAfter: retrySeat,
		Detail: "As many requests of this App are under way as may be at a time. Nothing is lost: try again after the seconds that Retry-After names.",
	}
}
