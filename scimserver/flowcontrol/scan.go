package flowcontrol

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// freeSteps of a request need no turn: a page of an index costs less than to ask for one.
	freeSteps = 200
	// slice is how long a scan works before others get their turn.
	slice = 2 * time.Millisecond
	// checkSteps is how often the clock is looked at, in steps of some microseconds each.
	checkSteps = 16
	// scanBudget bounds the processor time of one request's scan.
	scanBudget = 10 * time.Second
)

// scanShares are the processors that scans have: half of them. An App has half of those, so that its scans wait for each
// other first, and another App's scans find a place.
type scanShares struct {
	processors *semaphore.Weighted
	each       int64
}

func newScanShares() *scanShares { return newScanSharesOf(int64(max(1, runtime.GOMAXPROCS(0)/2))) }

func newScanSharesOf(all int64) *scanShares {
	return &scanShares{processors: semaphore.NewWeighted(all), each: max(1, all/2)}
}

// Scan is the work of one request that looks at many resources. It works in slices of some milliseconds, between which scans of
// other Apps and of the same one take turns. It is used by one goroutine.
type Scan struct {
	apps  *Apps
	state *app
	ctx   context.Context // a Scan belongs to one request and ends with it
	steps int
	// working says that a turn is held, since begun.
	working bool
	begun   time.Time
	used    time.Duration
}

// Scan returns the work of a request of the App. The caller calls End when nothing is looked at any more.
func (a *Apps) Scan(ctx context.Context, name types.NamespacedName, limits Limits) *Scan {
	return &Scan{apps: a, state: a.begin(name, limits), ctx: ctx}
}

// Step comes before each resource that is looked at. It waits for the App's turn, and fails where ctx has ended, or with a
// *RefusalError where the request has used its budget.
func (s *Scan) Step() error {
	s.steps++
	if s.steps <= freeSteps || s.steps%checkSteps != 0 {
		return nil
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.working {
		if time.Since(s.begun) < slice {
			return nil
		}
		s.Pause()
	}
	if s.used > scanBudget {
		return &RefusalError{
			Reason: ReasonBudget,
			Detail: "This filter or order takes more time over all resources than one request may. Ask for less: by userName, externalId, id or an email address, or in pages.",
		}
	}
	if err := s.state.slices.Acquire(s.ctx, 1); err != nil {
		return err
	}
	if err := s.apps.scans.processors.Acquire(s.ctx, 1); err != nil {
		s.state.slices.Release(1)
		return err
	}
	s.working, s.begun = true, time.Now()
	return nil
}

// Pause gives the turn back: for the time in which the request waits for something else, such as its client.
func (s *Scan) Pause() {
	if !s.working {
		return
	}
	s.working = false
	s.used += time.Since(s.begun)
	s.apps.scans.processors.Release(1)
	s.state.slices.Release(1)
}

// End ends the work.
func (s *Scan) End() {
	s.Pause()
	s.apps.end(s.state)
}
