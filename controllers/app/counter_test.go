package app

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestCounter(t *testing.T) {
	one, other := types.NamespacedName{Namespace: "a", Name: "app"}, types.NamespacedName{Namespace: "b", Name: "app"}
	var c counter
	for i, step := range []struct {
		app            types.NamespacedName
		name           string
		exists, marked bool
		changed        bool
		all, count     int32
	}{
		{one, "x", false, false, false, 0, 0},
		{one, "x", true, true, true, 1, 1},
		{one, "x", true, true, false, 1, 1},
		{one, "y", true, false, true, 2, 1},
		{one, "x", true, false, true, 2, 0},
		{other, "x", true, true, true, 1, 1},
		{one, "y", true, true, true, 2, 1},
		{one, "y", false, false, true, 1, 0},
		{one, "y", false, false, false, 1, 0},
		{one, "x", false, false, true, 0, 0},
	} {
		if changed := c.note(step.app, step.name, step.exists, step.marked); changed != step.changed {
			t.Errorf("step %d: changed = %v", i, changed)
		}
		if all, count := c.get(step.app); all != step.all || count != step.count {
			t.Errorf("step %d: %d, %d, want %d, %d", i, all, count, step.all, step.count)
		}
	}
	if all, count := c.get(other); all != 1 || count != 1 {
		t.Errorf("the other App: %d, %d", all, count)
	}
}
