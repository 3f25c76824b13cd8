package approlebinding

import (
	"context"
	"time"

	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/fair"
	"github.com/scim-operator/scim-operator/internal/schedule"
	"github.com/scim-operator/scim-operator/internal/tracing"
)

const (
	// runTimeout bounds one run, which does not end with the caller that asked for it.
	runTimeout = time.Minute
	// catchUpTimeout bounds how long a removal waits to be seen in the informers.
	catchUpTimeout = 2 * time.Second
	// restShare has a key rest after a run that only grants: to write a full AppRoleBinding costs the API server as much as
	// dozens of small objects, so that a directory that is filled user by user must not have its largest objects written
	// once for each.
	restShare = 8
	// maxRest bounds how long a key rests after a run.
	maxRest = 3 * time.Second
	// removalYield bounds how long a run that only grants waits for removals under other keys.
	removalYield = 250 * time.Millisecond
	// maxYields is how many writes of such a run wait once more, for as long each.
	maxYields = 4
	// maxInterruptions of one key in a row.
	maxInterruptions = 8
)

// want is what callers want of a run.
type want struct {
	// status has the AppRoleBindings' status written; full has everything looked at. prompt has AppRoleBindings written before the
	// caller learns of its removal, also where they lose leavers alone.
	status, full, prompt bool
	// grants has what only grants written as urgently as removals; else an urgent run leaves it to the next one.
	grants bool
	// asked are completed when the run is done.
	asked []*grantRequest
	// origins are the callers' spans.
	origins tracing.Origins
}

func (w *want) merge(other want) {
	w.status, w.full, w.prompt, w.grants = w.status || other.status, w.full || other.full, w.prompt || other.prompt, w.grants || other.grants
	w.asked = append(w.asked, other.asked...)
	w.origins = w.origins.And(other.origins)
}

// runs returns the scheduler.
func (s *Syncer) runs() *schedule.Scheduler[earned.RoleInScope, want, Outcome] {
	s.once.Do(func() {
		s.turns = newTurns(s.Speed)
		s.scheduler = schedule.New(schedule.Options[earned.RoleInScope, want, Outcome]{
			Run: runner{s}.run, Merge: (*want).merge, Finished: runner{s}.finished, Timeout: runTimeout,
			Lane: laneOf, Slots: s.turns.runs, RestShare: restShare, MaxRest: maxRest,
			Over: s.Removals.Over, Yield: removalYield, MaxInterruptions: maxInterruptions,
		})
	})
	return s.scheduler
}

// watch has the runs in metrics and checks until ctx ends. A run ends within runTimeout unless something hangs.
func (s *Syncer) watch(ctx context.Context) {
	context.AfterFunc(ctx, fair.Watched.Add("bindings", s.runs()))
}
