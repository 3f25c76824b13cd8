package user

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
	"github.com/scim-operator/scim-operator/internal/access"
)

const (
	// maxRoles and maxRoleNames are what the schema admits.
	maxRoles     = 4096
	maxRoleNames = 4096
	// maxProblems are named in a message; the rest is counted.
	maxProblems = 5
)

// verdict is what one reconcile found out about a User: everything that its status says.
type verdict struct {
	subject     string
	reservedKey string
	// claimed says that the claim of the userName names the User, by a live read or by what was found out before.
	claimed bool
	// boundAs is the name that bindings of the App have for the person, "" where they have none now.
	boundAs string
	roles   []v1alpha1.EarnedRole
	// ended are roles that are not held since they ended; keepEnded says that the status may tell of more.
	ended     []v1alpha1.EarnedRole
	keepEnded bool
	// byGroup says that native bindings named a group in the user's place when its access ended.
	byGroup bool

	name, granted, revocation, ready metav1.Condition

	// residual is nil where it was not looked for.
	residual       *otherBindings
	residualAccess metav1.Condition
}

func condition(kind string, holds bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if holds {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

func (v *verdict) nameReserved(user *v1alpha1.User) {
	v.reservedKey, v.claimed = user.Spec.UserNameKey, true
}

func (v *verdict) nameNotReserved(reason, message string) {
	v.name = condition(v1alpha1.ConditionNameReserved, false, reason, message)
}

func (v *verdict) reserved() bool { return v.claimed }

func (v *verdict) withheld(reason, message string) {
	v.granted = condition(v1alpha1.ConditionAccessGranted, false, reason, message)
	v.ready = condition(v1alpha1.ConditionReady, false, reason, message)
}

func (v *verdict) frozen(roles []v1alpha1.EarnedRole, message string) {
	v.roles = roles
	message = "The App's specification is invalid, so that nothing new is granted: " + message
	v.granted = condition(v1alpha1.ConditionAccessGranted, false, v1alpha1.ReasonAppNotReady, message)
	v.ready = condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonAppNotReady, message)
}

func (v *verdict) grantedRoles(decision access.Decision, mode string, failure error) {
	v.roles = decision.Roles
	if len(decision.Roles) > 0 && mode != v1alpha1.ModeObserve {
		v.boundAs = v.subject // also where only some of the roles could be bound
	}
	switch {
	case failure != nil:
		reason, message := approlebinding.FailureReason(failure), approlebinding.FailureMessage(failure)
		v.granted = condition(v1alpha1.ConditionAccessGranted, false, reason, message)
		v.ready = condition(v1alpha1.ConditionReady, false, reason, message)
	case len(decision.Roles) == 0:
		v.granted = condition(v1alpha1.ConditionAccessGranted, false, v1alpha1.ReasonNoRole, "")
		v.ready = condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonNoRole, "The person holds no role.")
	case mode == v1alpha1.ModeObserve:
		message := "The App's mode is Observe: nothing is bound."
		v.granted = condition(v1alpha1.ConditionAccessGranted, false, v1alpha1.ReasonObserved, message)
		v.ready = condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonObserved, message)
	default:
		v.granted = condition(v1alpha1.ConditionAccessGranted, true, v1alpha1.ReasonGranted, "")
		v.ready = condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonReady, "Every role held is bound.")
	}
	if failure == nil && len(decision.Problems) > 0 {
		v.ready = condition(v1alpha1.ConditionReady, false, decision.Problems[0].Reason, problems(decision.Problems))
	}
}

// addHeld adds roles that are held though they are not earned any more.
func (v *verdict) addHeld(roles []v1alpha1.EarnedRole) {
	if len(roles) == 0 {
		return
	}
	v.roles = slices.SortedFunc(slices.Values(slices.Concat(v.roles, roles)), func(a, b v1alpha1.EarnedRole) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Scope, b.Scope))
	})
	v.ready = condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonTooManyRemovals,
		"The person keeps roles that are not earned any more, until a release of what the App's spec.safety holds: "+difference(roles, nil)+".")
	if v.granted.Reason == v1alpha1.ReasonNoRole {
		v.granted = condition(v1alpha1.ConditionAccessGranted, true, v1alpha1.ReasonGranted, "")
	}
}

func (v *verdict) revoked(user *v1alpha1.User) {
	v.subject = user.Status.KubernetesUsername
	v.revocation = condition(v1alpha1.ConditionAccessRevoked, true, v1alpha1.ReasonRevoked, "No RoleBinding or ClusterRoleBinding of this operator names the person's Kubernetes user.")
	reason, message := whyInactive(user)
	v.granted = condition(v1alpha1.ConditionAccessGranted, false, reason, message)
	v.ready = condition(v1alpha1.ConditionReady, true, reason, message)
	if v.byGroup {
		v.revocation = condition(v1alpha1.ConditionAccessRevoked, false, v1alpha1.ReasonBoundByGroup, boundByGroup)
		v.ready = condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonBoundByGroup, boundByGroup)
	}
}

func (v *verdict) revocationFailed(user *v1alpha1.User, failure error) {
	v.subject = user.Status.KubernetesUsername
	v.reservedKey = user.Status.ReservedKey
	v.roles = user.Status.Roles
	message := "Access may not be gone yet: " + approlebinding.FailureMessage(failure)
	v.revocation = condition(v1alpha1.ConditionAccessRevoked, false, v1alpha1.ReasonBindingFailed, message)
	reason, why := whyInactive(user)
	v.granted = condition(v1alpha1.ConditionAccessGranted, false, reason, why)
	v.ready = condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonBindingFailed, message)
}

func whyInactive(user *v1alpha1.User) (reason, message string) {
	switch {
	case !user.DeletionTimestamp.IsZero():
		return v1alpha1.ReasonDeleted, "The user is being deleted."
	case !user.Spec.Active:
		return v1alpha1.ReasonInactive, "The person is inactive."
	}
	return v1alpha1.ReasonSuspended, "The person is suspended in the cluster."
}

// isRevoked says whether the status is about the User's current generation and tells that the access is gone.
func isRevoked(user *v1alpha1.User) bool {
	revocation := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
	return v1alpha1.IsRevocationSettled(revocation) &&
		revocation.ObservedGeneration == user.Generation && user.DeletionTimestamp.IsZero()
}

// writeStatus writes the verdict where it says anything new, and tells what changed in events.
func (e *evaluation) writeStatus(ctx context.Context) error {
	if e.user.MayHaveAccess() {
		e.Residual.Forget(e.name)
	}
	before := e.user.Status.DeepCopy()
	e.verdict.apply(e.user, time.Now())
	if saysTheSame(before, &e.user.Status) {
		e.late.forget(e.name)
		e.Reconciler.causes.settle(e.name, e.causes)
		return nil
	}
	if err := e.denyFormerName(ctx, before); err != nil {
		return err
	}
	if err := e.updateStatus(ctx); err != nil {
		return err
	}
	e.recent.wrote(e.name, e.user)
	e.late.forget(e.name)
	e.report().emitEvents(before)
	e.report().audit(before, &e.user.Status)
	e.report().measure(before, &e.user.Status)
	e.Reconciler.causes.settle(e.name, e.causes)
	e.report().emitResidual(before, &e.user.Status)
	return nil
}

// saysTheSame compares two statuses. What an earlier version wrote stays without uid until there is more to say.
func saysTheSame(before, after *v1alpha1.UserStatus) bool {
	if before.UID == "" {
		unnamed := *after
		unnamed.UID, after = "", &unnamed
	}
	return apiequality.Semantic.DeepEqual(before, after)
}

// updateStatus writes the status. A status that no request waits for, of a user with access, waits for its turn.
func (e *evaluation) updateStatus(ctx context.Context) error {
	if e.user.MayHaveAccess() {
		release := e.turns.statuses.Acquire(ctx, e.appName(), nil)
		if release == nil {
			return ctx.Err()
		}
		defer release()
		e.Syncer.Removals.Yield(ctx, statusYield)
	}
	return e.Client.Status().Update(ctx, e.user)
}

// apply computes the status of a User.
func (v *verdict) apply(user *v1alpha1.User, now time.Time) {
	status := &user.Status
	wasInactive := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionAccessGranted)
	switch {
	case user.MayHaveAccess():
		status.InactiveSince = nil
	case status.InactiveSince == nil || wasInactive == nil || wasInactive.Reason != v.granted.Reason:
		// The time of suspension does not count towards what happens to inactive users.
		status.InactiveSince = &metav1.Time{Time: now.Truncate(time.Second)}
	}
	if user.Generation > 1 { // else it is the request that created the user
		status.LastRequest = user.Spec.LastRequest
	}
	status.UID, status.ObservedGeneration = string(user.UID), user.Generation
	status.KubernetesUsername = v.subject
	if v.boundAs != "" {
		status.BoundAs = v.boundAs
	}
	if v.reservedKey != "" {
		status.ReservedKey = v.reservedKey
	}
	status.Roles = v.roles[:min(len(v.roles), maxRoles)]
	status.RoleNames = roleNames(v.roles)
	if v.claimed {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionNameReserved) // reservedKey says it
	}
	switch {
	case user.MayHaveAccess():
		status.ResidualAccess, status.ResidualAccessCount = nil, 0
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionResidualAccess)
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionAccessRevoked)
	case v.residual != nil:
		status.ResidualAccess, status.ResidualAccessCount = v.residual.list, int32(v.residual.count)
	}
	v.applyEnds(user, now)
	for _, c := range []metav1.Condition{v.name, v.granted, v.revocation, v.residualAccess, v.ready} {
		if c.Type == "" {
			continue
		}
		c.ObservedGeneration = user.Generation
		if c.Type == v1alpha1.ConditionAccessGranted || c.Type == v1alpha1.ConditionReady {
			c = withoutRepetition(c, meta.FindStatusCondition(status.Conditions, c.Type))
		}
		meta.SetStatusCondition(&status.Conditions, c)
	}
}

// withoutRepetition leaves the generation out of a condition that every status has, and is about the generation of the status. One by an
// earlier version that says the same stays as it is: to shorten it is no reason to write.
func withoutRepetition(c metav1.Condition, known *metav1.Condition) metav1.Condition {
	if known != nil && known.ObservedGeneration == c.ObservedGeneration && known.Status == c.Status && known.Reason == c.Reason {
		if c.Message == "" {
			c.Message = known.Message
		}
		return c
	}
	c.ObservedGeneration = 0
	return c
}

// roleNames lists the names of roles, each once, for printing.
func roleNames(roles []v1alpha1.EarnedRole) string {
	var names []string
	for i := range roles {
		if i == 0 || roles[i].Role != roles[i-1].Role {
			names = append(names, roles[i].Role)
		}
	}
	slices.Sort(names)
	text := strings.Join(slices.Compact(names), ",")
	if runes := []rune(text); len(runes) > maxRoleNames {
		text = string(runes[:maxRoleNames-1]) + "…"
	}
	return text
}

func problems(list []access.Problem) string {
	texts := make([]string, 0, maxProblems+1)
	for i, problem := range list {
		if i == maxProblems {
			texts = append(texts, fmt.Sprintf("and %d more", len(list)-maxProblems))
			break
		}
		texts = append(texts, problem.Message)
	}
	return sentence(strings.Join(texts, "; "))
}

// sentence makes a message of an error's text.
func sentence(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// difference lists up to ten roles of a that are not in b.
func difference(a, b []v1alpha1.EarnedRole) string {
	const shown = 10
	held := map[[2]string]bool{}
	for _, role := range b {
		held[[2]string{role.Role, role.Scope}] = true
	}
	var texts []string
	for _, role := range a {
		if !held[[2]string{role.Role, role.Scope}] {
			texts = append(texts, fmt.Sprintf("%s in %s", role.Role, role.Scope))
		}
	}
	if len(texts) > shown {
		texts = append(texts[:shown], fmt.Sprintf("and %d more", len(texts)-shown))
	}
	return strings.Join(texts, ", ")
}
