package user

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/scheme"
)

// What is left out of Events is counted by App, and told.
func TestEventBudget(t *testing.T) {
	told := map[types.NamespacedName]int{}
	budget := newEventBudget(0.001, 3, func(app types.NamespacedName, left leftOut) { told[app] += left.count })
	one, two := types.NamespacedName{Name: "one"}, types.NamespacedName{Name: "two"}
	written := 0
	for range 5 {
		for _, app := range []types.NamespacedName{one, two} {
			if budget.accept(app, &v1alpha1.User{}) {
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
	budget.accept(two, &v1alpha1.User{})
	budget.flush(two)
	if told[one]+told[two] != 8 {
		t.Errorf("told of %v", told)
	}
}

// written keeps the notes of Events that client-go writes, each in a goroutine of its own, not those that it counts into a series.
type written struct {
	mu    sync.Mutex
	notes []string
}

func (w *written) Create(_ context.Context, event *eventsv1.Event) (*eventsv1.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, event.Note)
	return event, nil
}

func (w *written) Update(_ context.Context, event *eventsv1.Event) (*eventsv1.Event, error) {
	return event, nil
}

func (w *written) Patch(_ context.Context, event *eventsv1.Event, _ []byte) (*eventsv1.Event, error) {
	return event, nil
}

// How many grants and how many revocations were left out is told for each time, though the App has not changed in between.
func TestLeftOutEventsAreNoSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kinds, err := scheme.New()
		if err != nil {
			t.Fatal(err)
		}
		sink := &written{}
		broadcaster := events.NewBroadcaster(sink)
		if err := broadcaster.StartRecordingToSinkWithContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		recorder := broadcaster.NewRecorder(kinds, "scim-operator")
		app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "demo", UID: "a", ResourceVersion: "1"}}
		user := func(name string) *v1alpha1.User {
			return &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: types.UID(name), ResourceVersion: "1"}}
		}
		tellLeftOut(recorder, app, leftOut{7, user("jane")}, "granted")
		tellLeftOut(recorder, app, leftOut{8, user("jane")}, "revoked")
		tellLeftOut(recorder, app, leftOut{9, user("john")}, "granted")
		synctest.Wait()
		sink.mu.Lock()
		notes := strings.Join(sink.notes, "\n")
		sink.mu.Unlock()
		for _, want := range []string{"7 users was granted", "8 users was revoked", "9 users was granted"} {
			if !strings.Contains(notes, want) {
				t.Errorf("%q is not told:\n%s", want, notes)
			}
		}
		broadcaster.Shutdown()
	})
}
