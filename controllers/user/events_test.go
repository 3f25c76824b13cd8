package user

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// What is left out of Events is counted by App, and told.
func TestEventBudget(t *testing.T) {
	told := map[types.NamespacedName]int{}
	budget := newEventBudget(0.001, 3, func(app types.NamespacedName, count int) { told[app] += count })
	one, two := types.NamespacedName{Name: "one"}, types.NamespacedName{Name: "two"}
	written := 0
	for range 5 {
		for _, app := range []types.NamespacedName{one, two} {
			if budget.accept(app) {
				written++
			}
		}
	}
	for _, app := range []types.NamespacedName{one, two, one} {
		budget.flush(app)
	}
	if written != 3 || told[one]+told[two] != 7 || told[one] == 0 || told[two] == 0 {
		t.Errorf("%d written, told of %v", written, told)
	}
	budget.accept(two)
	budget.flush(two)
	if told[one]+told[two] != 8 {
		t.Errorf("told of %v", told)
	}
}
