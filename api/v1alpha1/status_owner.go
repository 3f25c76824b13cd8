package v1alpha1

import (
	"cmp"
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// unknownOwner stands in status.uid, in memory, for the object that a status without a uid was written for.
	unknownOwner = "unknown"
	// clockTolerance is how far the clocks of a controller and of the API server differ at most.
	clockTolerance = time.Minute
)

// isForeign says whether a status was written for another object: a tool for backups put it back with an object that is new. Versions
// before status.uid wrote none: such a status is of another object where one of its conditions is older than the object.
func isForeign(object *metav1.ObjectMeta, owner string, conditions []metav1.Condition) bool {
	if owner != "" {
		return owner != string(object.UID)
	}
	oldest := object.CreationTimestamp.Add(-clockTolerance)
	for i := range conditions {
		if changed := conditions[i].LastTransitionTime; !changed.IsZero() && changed.Time.Before(oldest) {
			return true
		}
	}
	return false
}

// empty replaces a status where it differs: an object that others read at this moment may have been emptied before.
func empty[S any](status *S, emptied S) {
	if !reflect.DeepEqual(*status, emptied) {
		*status = emptied
	}
}

// HasForeignStatus says whether the status was written for another object. Such a status tells nothing.
func (u *User) HasForeignStatus() bool {
	return isForeign(&u.ObjectMeta, u.Status.UID, u.Status.Conditions)
}

// DropForeignStatus empties a status that was written for another object, but for its uid: HasForeignStatus stays true.
func (u *User) DropForeignStatus() {
	if u.HasForeignStatus() {
		empty(&u.Status, UserStatus{UID: cmp.Or(u.Status.UID, unknownOwner)})
	}
}

// HasForeignStatus is that of a User.
func (g *Group) HasForeignStatus() bool {
	return isForeign(&g.ObjectMeta, g.Status.UID, g.Status.Conditions)
}

// DropForeignStatus is that of a User.
func (g *Group) DropForeignStatus() {
	if g.HasForeignStatus() {
		empty(&g.Status, GroupStatus{UID: cmp.Or(g.Status.UID, unknownOwner)})
	}
}

// HasForeignStatus is that of a User.
func (a *App) HasForeignStatus() bool {
	return isForeign(&a.ObjectMeta, a.Status.UID, a.Status.Conditions)
}

// DropForeignStatus is that of a User.
func (a *App) DropForeignStatus() {
	if a.HasForeignStatus() {
		empty(&a.Status, AppStatus{UID: cmp.Or(a.Status.UID, unknownOwner)})
	}
}

// HasForeignStatus is that of a User.
func (t *ScimToken) HasForeignStatus() bool {
	return isForeign(&t.ObjectMeta, t.Status.UID, t.Status.Conditions)
}

// DropForeignStatus is that of a User.
func (t *ScimToken) DropForeignStatus() {
	if t.HasForeignStatus() {
		empty(&t.Status, ScimTokenStatus{UID: cmp.Or(t.Status.UID, unknownOwner)})
	}
}

// HasForeignStatus is that of a User.
func (g *OAuthGrant) HasForeignStatus() bool {
	return isForeign(&g.ObjectMeta, g.Status.UID, g.Status.Conditions)
}

// DropForeignStatus is that of a User.
func (g *OAuthGrant) DropForeignStatus() {
	if g.HasForeignStatus() {
		empty(&g.Status, OAuthGrantStatus{UID: cmp.Or(g.Status.UID, unknownOwner)})
	}
}

// HasForeignStatus is that of a User.
func (b *AppRoleBinding) HasForeignStatus() bool {
	return isForeign(&b.ObjectMeta, b.Status.UID, b.Status.Conditions)
}

// DropForeignStatus is that of a User.
func (b *AppRoleBinding) DropForeignStatus() {
	if b.HasForeignStatus() {
		empty(&b.Status, AppRoleBindingStatus{UID: cmp.Or(b.Status.UID, unknownOwner)})
	}
}

// dropEach empties the foreign statuses of a list's items.
func dropEach[T any, P interface {
	*T
	DropForeignStatus()
}](items []T) {
	for i := range items {
		P(&items[i]).DropForeignStatus()
	}
}

// DropForeignStatus does it for each item.
func (l *UserList) DropForeignStatus() { dropEach(l.Items) }

// DropForeignStatus does it for each item.
func (l *GroupList) DropForeignStatus() { dropEach(l.Items) }

// DropForeignStatus does it for each item.
func (l *AppList) DropForeignStatus() { dropEach(l.Items) }

// DropForeignStatus does it for each item.
func (l *ScimTokenList) DropForeignStatus() { dropEach(l.Items) }

// DropForeignStatus does it for each item.
func (l *OAuthGrantList) DropForeignStatus() { dropEach(l.Items) }

// DropForeignStatus does it for each item.
func (l *AppRoleBindingList) DropForeignStatus() { dropEach(l.Items) }
