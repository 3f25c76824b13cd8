package user

import (
	"context"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
)

const (
	// Events of grants and of revocations are bounded, each for themselves: an import, or a group of thousands, would fill etcd with
	// them, and the queue in front of it drops without a word. What they say is in the status of each User and in the audit log, too.
	grantEventsPerSecond  = 5
	grantEventsBurst      = 200
	revokeEventsPerSecond = 5
	revokeEventsBurst     = 100
	// withheldAfter is when an Event on the App tells how many were left out.
	withheldAfter = 10 * time.Second
)

// eventBudget decides which Events of one kind are written, and counts the others by App.
type eventBudget struct {
	limit flowcontrol.PassiveRateLimiter
	// report is called once for an App, withheldAfter its first Event was left out, with what was by then.
	report func(app types.NamespacedName, left leftOut)

	mutex    sync.Mutex
	withheld map[types.NamespacedName]leftOut
}

// leftOut are the Events about an App's users that were not written: how many, and the user of the last one.
type leftOut struct {
	count int
	last  *v1alpha1.User
}

func newEventBudget(perSecond float32, burst int, report func(types.NamespacedName, leftOut)) *eventBudget {
	return &eventBudget{
		limit:  flowcontrol.NewTokenBucketPassiveRateLimiter(perSecond, burst),
		report: report, withheld: map[types.NamespacedName]leftOut{},
	}
}

// accept says whether an Event about a user of an App may be written.
func (b *eventBudget) accept(app types.NamespacedName, user *v1alpha1.User) bool {
	if b.limit.TryAccept() {
		return true
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	left := leftOut{count: b.withheld[app].count + 1, last: user}
	if b.withheld[app] = left; left.count == 1 {
		time.AfterFunc(withheldAfter, func() { b.flush(app) })
	}
	return false
}

func (b *eventBudget) flush(app types.NamespacedName) {
	b.mutex.Lock()
	left := b.withheld[app]
	delete(b.withheld, app)
	b.mutex.Unlock()
	if left.count > 0 {
		b.report(app, left)
	}
}

// reportWithheld tells on the App how many Events about its users were left out.
func (r *Reconciler) reportWithheld(what string) func(types.NamespacedName, leftOut) {
	return func(name types.NamespacedName, left leftOut) {
		log.Log.WithName("user").Info("Left Events out", "app", name.String(), "count", left.count, "access", what)
		app := &v1alpha1.App{}
		if err := r.Client.Get(context.Background(), name, app); err == nil {
			tellLeftOut(r.Recorder, app, left, what)
		}
	}
}

// tellLeftOut writes the Event of reportWithheld. Events that differ in their note alone are one series, which shows the first note for
// six minutes: action and related object keep apart what is granted, what is revoked, and one number from the next.
func tellLeftOut(recorder events.EventRecorder, app *v1alpha1.App, left leftOut, what string) {
	recorder.Eventf(app, left.last, corev1.EventTypeNormal, "EventsLeftOut", "Summarize"+strings.ToUpper(what[:1])+what[1:],
		"Access of %d users was %s without an Event for each: their status and the audit log tell of every one", left.count, what)
}

// emitEvents writes Events about roles that came and went, after the status that says so. They name roles, never attributes.
func (e report) emitEvents(before *v1alpha1.UserStatus) {
	after := &e.user.Status
	changes := auditChanges(before, after)
	revoked, released := changes[auditChange{action: auditRevoked}], changes[auditChange{action: auditReleased}]
	revoked, ended := partition(revoked)
	released, heldEnded := partition(released)
	for _, event := range []struct {
		roles              []auditRole
		reason, verb, text string
		budget             *eventBudget
	}{
		{revoked, "AccessRevoked", "Revoke", "Revoked ", e.revokeEvents},
		{append(ended, heldEnded...), v1alpha1.ConditionAccessEnded, "End", "The time is over of ", e.revokeEvents},
		{released, "AccessRevoked", "Release", "Revoked what spec.safety had held: ", e.revokeEvents},
		{changes[auditChange{action: auditHeld}], "AccessHeld", "Hold", "Held by spec.safety, though not earned any more: ", e.grantEvents},
		{changes[auditChange{action: auditGranted}], "AccessGranted", "Grant", "Granted ", e.grantEvents},
	} {
		if len(event.roles) > 0 && event.budget.accept(e.appName(), e.user) {
			e.Recorder.Eventf(e.user, nil, corev1.EventTypeNormal, event.reason, event.verb, "%s", event.text+namesOfRoles(event.roles))
		}
	}
	e.emitEnding(before)
	if isObserved(after) {
		former := before.Roles
		if !isObserved(before) {
			former = nil
		}
		if gained := difference(after.Roles, former); gained != "" && e.grantEvents.accept(e.appName(), e.user) {
			e.Recorder.Eventf(e.user, nil, corev1.EventTypeNormal, "AccessObserved", "Observe", "Would be granted, but the App's mode is Observe: %s", gained)
		}
	}
	e.emitRefused(before)
}

// emitRefused tells once why roles that the user holds are not bound.
func (e report) emitRefused(before *v1alpha1.UserStatus) {
	message := refusalIn(&e.user.Status)
	if message == "" || message == refusalIn(before) || !e.grantEvents.accept(e.appName(), e.user) {
		return
	}
	e.Recorder.Eventf(e.user, nil, corev1.EventTypeWarning, "AccessNotGranted", "Grant", "%s", clip.Text(message, clip.EventNote))
}

// refusalIn returns why a status says that roles which are held are not bound; "" where it does not.
func refusalIn(status *v1alpha1.UserStatus) string {
	granted := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionAccessGranted)
	if granted == nil || granted.Reason != v1alpha1.ReasonForbidden && granted.Reason != v1alpha1.ReasonBindingFailed {
		return ""
	}
	return granted.Message
}

// partition parts roles that were taken for another cause from those that ended by time.
func partition(roles []auditRole) (others, ended []auditRole) {
	for _, role := range roles {
		if role.Ended {
			ended = append(ended, role)
		} else {
			others = append(others, role)
		}
	}
	return others, ended
}

func namesOfRoles(roles []auditRole) string {
	list := make([]v1alpha1.EarnedRole, len(roles))
	for i, role := range sortedRoles(roles) {
		list[i] = v1alpha1.EarnedRole{Role: role.Role, Scope: role.Scope}
	}
	return difference(list, nil)
}
