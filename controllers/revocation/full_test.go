package revocation

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// The App is told when its list begins to leave people out, and when it ceases to, and not with each write between.
func TestFullIsToldOnce(t *testing.T) {
	k := keeper(nil)
	k.stop = t.Context()
	k.writes = k.newWrites()
	l := listWith(map[string]time.Time{"okta:tab\tbed": time.Now().Add(time.Hour)}) // a name that no list can hold
	k.lists = map[types.NamespacedName]*appList{l.app: l}
	var told int
	k.OnFull(func(app types.NamespacedName) {
		if told++; app != l.app {
			t.Errorf("told of %s", app)
		}
	})
	write := func(want int, when string) {
		t.Helper()
		if err := k.writeNow(l.app); err != nil {
			t.Fatal(err)
		}
		if told != want {
			t.Errorf("%s: told %d times, want %d", when, told, want)
		}
	}
	write(1, "one is left out")
	write(1, "nothing changed")
	clear(l.entries)
	write(2, "none is left out")
	write(2, "nothing changed again")
	if l.expiry != nil {
		t.Error("a list without entries waits for the end of one")
	}
}
