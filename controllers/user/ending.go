package user

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// maxEnds are named in a message; the rest is counted.
const maxEnds = 10

// watchEnds has the user evaluated when the first of the roles ends, or begins to end soon.
func (e *evaluation) watchEnds(roles []v1alpha1.EarnedRole) {
	if next, found := access.NextEnd(roles, e.now); found {
		e.ends.set(e.name, next)
	} else {
		e.ends.forget(e.name)
	}
}

// announcedEnds returns the keys of which the user's status told an end that has come. spec.safety does not hold them: the loss is
// no surprise. It does hold what an edit of the App ends at once, since no status told of that.
func (e *evaluation) announcedEnds() map[earned.RoleInScope]bool {
	ended := map[earned.RoleInScope]bool{}
	for _, role := range e.user.Status.Roles {
		if access.HasEnded(role, e.now) {
			ended[e.keyOf(role)] = true
		}
	}
	return ended
}

// setEnds keeps for the status what has ended. keep says that what an earlier status says of that still holds.
func (v *verdict) setEnds(ended []v1alpha1.EarnedRole, keep bool) {
	v.ended, v.keepEnded = ended, keep
}

// applyEnds writes the conditions about ends, where there are any: other users do not have them.
func (v *verdict) applyEnds(user *v1alpha1.User, now time.Time) {
	soon := access.EndingSoon(v.roles, now)
	setOrRemove(user, v1alpha1.ConditionAccessEnding, v1alpha1.ReasonEndsSoon, "Ends soon: ", soon)
	if !v.keepEnded || len(v.ended) > 0 {
		setOrRemove(user, v1alpha1.ConditionAccessEnded, v1alpha1.ReasonRolesEnded, "Ended: ", v.ended)
	}
}

func setOrRemove(user *v1alpha1.User, kind, reason, text string, roles []v1alpha1.EarnedRole) {
	if len(roles) == 0 {
		meta.RemoveStatusCondition(&user.Status.Conditions, kind)
		return
	}
	c := condition(kind, true, reason, text+withEnds(roles)+".")
	c.ObservedGeneration = user.Generation
	meta.SetStatusCondition(&user.Status.Conditions, c)
}

// withEnds lists roles with their ends, the first end first.
func withEnds(roles []v1alpha1.EarnedRole) string {
	roles = slices.Clone(roles)
	slices.SortStableFunc(roles, func(a, b v1alpha1.EarnedRole) int { return a.Until.Compare(b.Until.Time) })
	var texts []string
	for i, role := range roles {
		if i == maxEnds {
			texts = append(texts, fmt.Sprintf("and %d more", len(roles)-maxEnds))
			break
		}
		texts = append(texts, fmt.Sprintf("%s in %s at %s", role.Role, role.Scope, role.Until.UTC().Format(time.RFC3339)))
	}
	return strings.Join(texts, ", ")
}

// emitEnding tells once of each set of roles that end soon. The times are in the condition: an attribute may have given them.
func (e report) emitEnding(before *v1alpha1.UserStatus) {
	is := meta.FindStatusCondition(e.user.Status.Conditions, v1alpha1.ConditionAccessEnding)
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionAccessEnding)
	if is == nil || is.Status != metav1.ConditionTrue || was != nil && was.Message == is.Message || !e.grantEvents.accept(e.appName(), e.user) {
		return
	}
	soon := difference(access.EndingSoon(e.user.Status.Roles, time.Now()), nil)
	text := fmt.Sprintf("Ends within %d days: %s", access.Notice/(24*time.Hour), soon)
	e.Recorder.Eventf(e.user, nil, corev1.EventTypeNormal, v1alpha1.ConditionAccessEnding, "Remind", "%s", clip.Text(text, clip.EventNote))
}
