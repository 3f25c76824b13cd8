package approlebinding

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/fair"
	"github.com/scim-operator/scim-operator/internal/schedule"
)

// A write waits among those of its own urgency, and among more urgent ones once a more urgent run of its key waits: a leaver waits for
// nothing that an edit of its App gives or takes.
func TestWritesBecomeUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		syncer := &Syncer{turns: newTurns(nil)}
		key := earned.RoleInScope{Namespace: "ns", App: "demo"}
		timeout := make(chan struct{})
		close(timeout)
		fill := func(slots *fair.Slots) { // with all that the App gets
			for slots.Acquire(t.Context(), laneOf(key), timeout) != nil {
			}
		}
		written := func(run *schedule.Run[want]) *bool {
			done := new(bool)
			go func() {
				if err := (runner{syncer}).writerOf(key, run).(turnClient).inTurn(t.Context(), func() error { *done = true; return nil }); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
			return done
		}
		overtaken, preceded := make(chan struct{}), make(chan struct{})
		fill(syncer.turns.grantWrites)
		grant := written(&schedule.Run[want]{Overtaken: overtaken, Preceded: preceded})
		if loss := written(&schedule.Run[want]{Urgent: true, Preceded: preceded}); *grant || !*loss {
			t.Errorf("while grants have all slots: a grant is written: %t, a loss: %t", *grant, *loss)
		}
		fill(syncer.turns.lossWrites)
		loss := written(&schedule.Run[want]{Urgent: true, Preceded: preceded})
		close(overtaken)
		time.Sleep(time.Second)
		if leaver := written(&schedule.Run[want]{Urgent: true, First: true}); *grant || *loss || !*leaver {
			t.Errorf("while losses have all slots, too: a grant is written: %t, a loss: %t, a leaver: %t", *grant, *loss, *leaver)
		}
		close(preceded)
		time.Sleep(time.Second)
		synctest.Wait()
		if !*grant || !*loss {
			t.Errorf("with a leaver behind it a grant is written: %t, a loss: %t", *grant, *loss)
		}
	})
}
