package controllers_test

import (
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// notesOn returns the notes of an object's Events.
func (w *world) notesOn(object client.Object) []string {
	w.Helper()
	var list eventsv1.EventList
	if err := env.Client.List(w.ctx, &list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	var notes []string
	for _, event := range list.Items {
		if event.Regarding.Name == object.GetName() {
			notes = append(notes, event.Reason+": "+event.Note)
		}
	}
	return notes
}

// An Event says Granted of what is bound, and of nothing else: not in an App that observes, not where the grant was refused.
func TestEventsSayWhatHappened(t *testing.T) {
	observe := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Mode = v1alpha1.ModeObserve })
	jane := observe.provision(observe.newUser("jane", ""))
	observe.eventuallyCondition(jane, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonObserved)
	observe.eventuallyEvent(jane, "AccessObserved", "viewer in default")

	refused := newWorld(t, func(spec *v1alpha1.AppSpec) { spec.Roles[0].Grants = []v1alpha1.Grant{{ClusterRole: "not-bindable"}} })
	joe := refused.provision(refused.newUser("joe", ""))
	refused.eventuallyCondition(joe, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonForbidden)
	refused.eventuallyEvent(joe, "AccessNotGranted", "not-bindable")

	for w, user := range map[*world]*v1alpha1.User{observe: jane, refused: joe} {
		update(w, user, deactivate)
		w.eventuallyCondition(user, v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, v1alpha1.ReasonRevoked)
		for _, note := range w.notesOn(user) {
			if strings.Contains(note, "Granted ") {
				t.Errorf("Event %q", note)
			}
		}
	}
	// What was refused is told as granted once it is.
	update(refused, joe, reactivate)
	refused.eventuallyCondition(joe, v1alpha1.ConditionAccessGranted, metav1.ConditionFalse, v1alpha1.ReasonForbidden)
	update(refused, refused.app, func(app *v1alpha1.App) { app.Spec.Roles[0].Grants[0].ClusterRole = bindable("get") })
	refused.eventuallyGranted(joe)
	refused.eventuallyEvent(joe, "AccessGranted", "Granted viewer in default")
}
