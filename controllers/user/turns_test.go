package user

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/scim-operator/scim-operator/internal/fair"
)

// While users leave an App, and for a moment after, few of its statuses are written at a time; other Apps do not notice.
func TestFewStatusesWhileUsersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		demo, other := fair.Lane{Namespace: "a", Name: "demo"}, fair.Lane{Namespace: "a", Name: "other"}
		turns := newTurns(nil)
		fill := func(app fair.Lane) (count int) {
			var releases []func()
			for range statusWriters {
				go func() {
					if release := turns.statuses.Acquire(t.Context(), app, nil); release != nil {
						releases = append(releases, release)
					}
				}()
				synctest.Wait()
			}
			count = len(releases)
			for i := range statusWriters {
				releases[i]()
				synctest.Wait()
			}
			return count
		}
		all := fill(demo)
		if all <= fewStatuses {
			t.Fatalf("an App has %d statuses written at a time to begin with", all)
		}
		turns.leaving.note(demo)
		if got := fill(demo); got != fewStatuses {
			t.Errorf("%d statuses at a time while users leave, want %d", got, fewStatuses)
		}
		if got := fill(other); got != all {
			t.Errorf("%d statuses of another App at a time, want %d", got, all)
		}
		time.Sleep(leaversTogether)
		if got := fill(demo); got != all {
			t.Errorf("%d statuses at a time after it, want %d", got, all)
		}
		turns.leaving.note(other)
		if len(turns.leaving.last) != 1 {
			t.Errorf("Apps are remembered that no user leaves: %v", turns.leaving.last)
		}
	})
}
