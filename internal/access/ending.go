package access

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/attributes"
	"github.com/scim-operator/scim-operator/internal/datetime"
)

// Notice is how long before its end a role counts as ending soon.
const Notice = 7 * 24 * time.Hour

// end says when a role ends.
type end struct {
	// until is for all users; nil for never. attribute names the end of each user; "" for none.
	until     *metav1.Time
	attribute string
	// optional says that a user without the attribute has no end of its own, and not no role.
	optional bool
}

// inSeconds returns a time as status holds it. An end between two seconds is the earlier one.
func inSeconds(at time.Time) *metav1.Time {
	return &metav1.Time{Time: at.UTC().Truncate(time.Second)}
}

// of returns when the role ends for a user, nil for never. A problem says that this is not known: the user does not hold the
// role then, since it may have ended.
func (e end) of(role string, user *v1alpha1.UserSpec) (*metav1.Time, *Problem) {
	if e.attribute == "" {
		return e.until, nil
	}
	values, _ := attributes.Values(user, e.attribute)
	unknown := func(format string, args ...any) (*metav1.Time, *Problem) {
		return nil, &Problem{
			Reason:  v1alpha1.ReasonRoleNotGranted,
			Message: fmt.Sprintf("role %s is not granted: %s", role, fmt.Sprintf(format, args...)),
		}
	}
	switch {
	case len(values) > 1:
		return unknown("attribute %s has %d values, and a role has one end", e.attribute, len(values))
	case len(values) == 0 && attributes.IsUnreadable(user, e.attribute):
		return unknown("attribute %s holds no text that could be a time", e.attribute)
	case len(values) == 0 && e.optional:
		return e.until, nil
	case len(values) == 0:
		return unknown("the user has no %s, which says when the role ends", e.attribute)
	}
	at, isTime := datetime.Parse(values[0])
	if !isTime {
		return unknown("attribute %s is %q, and not a time such as 2027-02-01T00:00:00Z", e.attribute, shorten(values[0]))
	}
	own := inSeconds(at)
	if e.until != nil && e.until.Before(own) {
		return e.until, nil
	}
	return own, nil
}

// dropEnded takes roles that have ended, or with an end that is not known, out of those that a user earned. It returns the
// ends of the others, and the reasons of those that have ended.
func (p *Policy) dropEnded(user *v1alpha1.UserSpec, now time.Time, earned map[string][]string, ends map[string]*metav1.Time, decision *Decision) (ended map[string][]string) {
	ended = map[string][]string{}
	for i := range p.roles {
		name := p.roles[i].name
		why, isEarned := earned[name]
		if !isEarned {
			continue
		}
		until, problem := p.roles[i].end.of(name, user)
		switch {
		case problem != nil:
			decision.Problems = append(decision.Problems, *problem)
			decision.endUnknown = true
			delete(earned, name)
		case until != nil && !now.Before(until.Time):
			ended[name], ends[name] = why, until
			delete(earned, name)
		case until != nil:
			ends[name] = until
		}
	}
	return ended
}

// End returns when a role ends for a user, whether the user earns it or not; nil for never, and where that is not known.
func (p *Policy) End(role string, user *v1alpha1.UserSpec) *metav1.Time {
	known := p.roleByName[role]
	if known == nil {
		return nil
	}
	until, _ := known.end.of(role, user)
	return until
}

// HasEnded says whether a role that a status lists was to end by now.
func HasEnded(role v1alpha1.EarnedRole, now time.Time) bool {
	return role.Until != nil && !now.Before(role.Until.Time)
}

// AnyEnded says whether one of the roles that a status lists was to end by now.
func AnyEnded(roles []v1alpha1.EarnedRole, now time.Time) bool {
	return slices.ContainsFunc(roles, func(role v1alpha1.EarnedRole) bool { return HasEnded(role, now) })
}

// HadEnded says whether a user's status lists a role in a scope that was to end by now.
func HadEnded(user *v1alpha1.User, role, scope string, now time.Time) bool {
	return slices.ContainsFunc(user.Status.Roles, func(held v1alpha1.EarnedRole) bool {
		return held.Role == role && held.Scope == scope && HasEnded(held, now)
	})
}

// EndingSoon returns the roles that end within Notice.
func EndingSoon(roles []v1alpha1.EarnedRole, now time.Time) []v1alpha1.EarnedRole {
	return slices.DeleteFunc(slices.Clone(roles), func(role v1alpha1.EarnedRole) bool {
		return role.Until == nil || now.Before(role.Until.Add(-Notice))
	})
}

// NextEnd returns when, after now, the first of the roles ends or begins to end soon; false for never.
func NextEnd(roles []v1alpha1.EarnedRole, now time.Time) (next time.Time, found bool) {
	for _, role := range roles {
		if role.Until == nil {
			continue
		}
		for _, at := range []time.Time{role.Until.Add(-Notice), role.Until.Time} {
			if at.After(now) && (!found || at.Before(next)) {
				next, found = at, true
			}
		}
	}
	return next, found
}
