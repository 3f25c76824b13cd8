package controllers_test

import (
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// notesOn returns the notes of an object's Events.
func (d *directory) notesOn(object client.Object) []string {
	d.Helper()
	var list eventsv1.EventList
	if err := env.Client.List(d.ctx, &list, client.InNamespace(d.namespace)); err != nil {
		d.Fatal(err)
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

// What people must know of a token is told on it: that its App does not accept it, that it expires, that it has.
func TestTokenEvents(t *testing.T) {
	w := tokens{newWorld(t, nil)}
	digest := func(character string) string { return "sha256:" + strings.Repeat(character, 64) }
	stray := w.newUnlistedToken("stray", v1alpha1.ScimTokenSpec{Digest: digest("a")})
	w.eventuallyEvent(stray, v1alpha1.ReasonNotAccepted, "add to its spec")
	soon := w.newToken("soon", v1alpha1.ScimTokenSpec{Digest: digest("b"), ExpiresAt: &metav1.Time{Time: time.Now().Add(24 * time.Hour)}})
	w.eventuallyEvent(soon, v1alpha1.ConditionExpiring, "provisioning and deprovisioning fail")
	update(w, soon, func(token *v1alpha1.ScimToken) {
		token.Spec.ExpiresAt = &metav1.Time{Time: time.Now().Add(time.Second)}
	})
	w.eventuallyEvent(soon, v1alpha1.ReasonExpired, "The token expired at")
	far := w.newToken("far", v1alpha1.ScimTokenSpec{Digest: digest("c"), ExpiresAt: &metav1.Time{Time: time.Now().Add(40 * 24 * time.Hour)}})
	w.eventuallyValid(far, digest("c"))
	if notes := w.notesOn(far); strings.Contains(strings.Join(notes, " "), v1alpha1.ConditionExpiring) {
		t.Errorf("Events of a token that is good for 40 days: %q", notes)
	}
}

// What people must know of a group is told on it: members that were left out, roles that it confers, a name that is taken.
func TestGroupEvents(t *testing.T) {
	w := newWorld(t, byGroups("Staff"))
	user := w.provision(w.newUser("ada", ""))
	group := w.newGroup("Staff", membership.InlineLimit, user.Name)
	group.Annotations = map[string]string{v1alpha1.AnnotationUnknownMembers: `{"count":2,"ids":["ghost-1","ghost-2"]}`}
	w.create(group)
	w.claimGroup(group)
	w.eventuallyEvent(group, v1alpha1.ReasonMembersUnknown, `"ghost-1"`)
	w.eventuallyEvent(group, "RolesConferred", "admin")
	update(w, w.app, func(app *v1alpha1.App) { app.Spec.Roles[1].Groups = nil })
	w.eventuallyEvent(group, "RolesNotConferred", "admin")
}
