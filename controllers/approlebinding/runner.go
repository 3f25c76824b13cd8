package approlebinding

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/schedule"
)

// runner does the runs that the scheduler starts, and remembers how they ended.
type runner struct{ syncer *Syncer }

// run is what the scheduler calls: it gathers, plans and writes, and remembers what the next run of the key needs.
func (r runner) run(ctx context.Context, key earned.RoleInScope, scheduled *schedule.Run[want]) (Outcome, schedule.Ending) {
	ctx, span := scheduled.Want.origins.Begin(ctx, "write bindings")
	defer span.End()
	if span.IsRecorded() {
		span.Text("scim.app", key.Namespace+"/"+key.App)
		span.Text("scim.role", key.Role)
		span.Text("scim.scope", key.Scope)
	}
	outcome := r.runOnce(ctx, key, scheduled)
	if outcome.Err() != nil {
		span.Fail(outcome.kind())
	}
	if !errors.Is(outcome.Grant, errInterrupted) {
		return outcome, schedule.Ended
	}
	scheduled.Want.full = scheduled.Want.full && !errors.Is(outcome.Grant, errStatusLeft)
	return outcome, schedule.Interrupted
}

func (r runner) runOnce(ctx context.Context, key earned.RoleInScope, scheduled *schedule.Run[want]) Outcome {
	writing := r.writerOf(key, scheduled)
	g := &gatherer{
		reader: r.syncer.reader(), client: writing, live: liveReader{r.syncer.Live}, index: r.syncer.Index, policies: r.syncer.Policies,
		unlabelled: &r.syncer.unlabelledBindings, permissions: &r.syncer.permissions, trailers: &r.syncer.trailing,
		input: input{
			key: key, full: scheduled.Want.full, status: scheduled.Want.status, urgent: scheduled.Urgent, prompt: scheduled.Want.prompt,
			leavesGrants: scheduled.Urgent && scheduled.MayStop && !scheduled.Want.grants,
		},
	}
	err := g.gather(ctx, func() memory { return r.beginRun(key, scheduled.Want.status) })
	if err != nil {
		r.syncer.Index.MarkDirty(key, g.dirty)
		scheduled.Removed(err)
		return Outcome{Removal: err, Grant: err}
	}
	p := newPlan(g.input)
	o := newObjects(p)
	w := writer{
		plan: p, objects: o, edits: newEdits(p, o, liveReader{r.syncer.Live}, r.syncer.Recorder), writes: &r.syncer.writes, live: liveReader{r.syncer.Live},
		Client: writing, isInterrupted: scheduled.IsInterrupted, yield: r.yieldOf(ctx, scheduled),
	}
	defer w.edits.tell(ctx)
	run := newRun(w, &r.syncer.trailing)
	outcome := run.write(ctx, scheduled.Removed)
	interrupted := errors.Is(outcome.Grant, errInterrupted)
	r.syncer.trailing.settle(key, run.settled(r.syncer.trailing.under(key), interrupted || outcome.Removal != nil))
	if outcome.Removal != nil || interrupted {
		r.syncer.Index.MarkDirty(key, p.dirty)
	}
	r.syncer.memories.write(key, func(m *memory) bool {
		m.record(p, o, w.edits, outcome.Err() == nil || interrupted && outcome.Removal == nil && p.memory.clean && !p.full)
		m.halfway = interrupted
		return true
	})
	if interrupted || outcome.Removal != nil || !p.status {
		return outcome
	}
	err = run.bindings.writeStatus(ctx, outcome.Grant)
	if errors.Is(err, errInterrupted) {
		return Outcome{Grant: errStatusLeft}
	}
	outcome.Prune = errors.Join(outcome.Prune, err)
	return outcome
}

// yieldOf returns what has a run's writes wait while users lose access under other keys, until a removal of its own key waits. That
// many of them do, so that no run takes much longer for it; those of an urgent run never do.
func (r runner) yieldOf(ctx context.Context, scheduled *schedule.Run[want]) func() {
	var yields atomic.Int32
	return func() {
		over := r.syncer.Removals.Over()
		select {
		case <-over:
			return
		default:
		}
		if scheduled.Urgent || yields.Add(1) > maxYields {
			return
		}
		timer := time.NewTimer(removalYield)
		defer timer.Stop()
		select {
		case <-over:
		case <-timer.C:
		case <-scheduled.Overtaken:
		case <-ctx.Done():
		}
	}
}

// beginRun returns what is remembered of a key. A run that writes the status settles that it is due.
func (r runner) beginRun(key earned.RoleInScope, status bool) (begun memory) {
	r.syncer.memories.write(key, func(m *memory) bool {
		if status {
			m.statusDue = time.Time{}
		}
		begun = *m
		return true
	})
	return begun
}

// finished remembers how a run ended and calls OnChange for the users that it concerns. A failed run that the controller of
// this package asked for comes back by its queue's backoff; any other has to be put there.
func (r runner) finished(key earned.RoleInScope, wanted want, outcome Outcome, rest time.Duration) time.Duration {
	var turned, kept bool
	trails := r.syncer.trailing.any(key)
	r.syncer.memories.write(key, func(m *memory) bool {
		switch due := time.Now().Add(ownDelay + ownDelayFactor*rest); {
		case !m.statusDue.IsZero():
		case trails:
			m.statusDue = earliest(due, time.Now().Add(trailingDelay))
		case !wanted.status:
			m.statusDue = due
		}
		turned = (m.outcome.Grant == nil) != (outcome.Grant == nil)
		m.known, m.outcome = true, outcome
		m.clean = m.clean && outcome.Err() == nil
		kept = len(m.natives) > 0 || len(m.generations) > 0 || outcome.Err() != nil
		return kept
	})
	if outcome.Err() != nil && !wanted.status {
		r.syncer.rechecks.retry(key)
	}
	if trails {
		r.syncer.rechecks.later(key, r.syncer.memories.statusDelay(key))
	}
	var users []types.NamespacedName
	if turned {
		for _, name := range r.syncer.Index.Holders(key) {
			users = append(users, types.NamespacedName{Namespace: key.Namespace, Name: name})
		}
	}
	r.tell(users)
	r.tell(r.syncer.requests.finish(key, wanted.asked, outcome.Grant))
	if !kept {
		return 0
	}
	return rest
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (r runner) tell(users []types.NamespacedName) {
	if r.syncer.changed != nil && len(users) > 0 {
		r.syncer.changed(users)
	}
}
