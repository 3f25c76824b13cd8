package user

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// importing is how many users of one App, created within the present second and the one before, make an import.
	importing = 60
	// importPause is how long no user is created until an import counts as interrupted.
	importPause = 200 * time.Millisecond
	// maxLate bounds how long a first status waits, lateLook is the time between two looks whether it is to be written.
	maxLate, lateLook = 5 * time.Second, 100 * time.Millisecond
)

// lateStatuses are first statuses that wait, a moment, while many users of their App are created: clients wait for the creates, and for
// such a status none does. It writes nothing: a user whose status is due is evaluated anew. The zero value is ready to use.
type lateStatuses struct {
	mutex sync.Mutex
	apps  map[types.NamespacedName]*arrivals
	swept time.Time
	users map[types.NamespacedName]*lateStatus
	// first has an element where a status began to wait.
	first chan struct{}
}

// lateStatus is what an evaluation found out of a user whose first status is not written yet.
type lateStatus struct {
	app        types.NamespacedName
	uid        types.UID
	generation int64
	// boundAs is the name that bindings have for the user, "" where they have none.
	boundAs string
	since   time.Time
	// due says that the user was handed to the queue.
	due bool
}

// arrivals counts the users of an App that were created in one second and in the one before.
type arrivals struct {
	second         int64
	current, prior int
	last           time.Time
}

// created notes that a user of an App was created.
func (l *lateStatuses) created(app types.NamespacedName, now time.Time) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.apps == nil {
		l.apps = map[types.NamespacedName]*arrivals{}
	}
	if now.Sub(l.swept) > time.Second {
		maps.DeleteFunc(l.apps, func(_ types.NamespacedName, a *arrivals) bool { return now.Sub(a.last) > 2*time.Second })
		l.swept = now
	}
	a := l.apps[app]
	if a == nil {
		a = &arrivals{}
		l.apps[app] = a
	}
	a.turn(now)
	a.current++
	a.last = now
}

// turn moves on to the present second.
func (a *arrivals) turn(now time.Time) {
	switch second := now.Unix(); second {
	case a.second:
	case a.second + 1:
		a.second, a.prior, a.current = second, a.current, 0
	default:
		a.second, a.prior, a.current = second, 0, 0
	}
}

// isImport says whether many users of an App are being created. The mutex is held.
func (l *lateStatuses) isImport(app types.NamespacedName, now time.Time) bool {
	a := l.apps[app]
	if a == nil || now.Sub(a.last) > importPause {
		return false
	}
	a.turn(now)
	return a.current+a.prior >= importing
}

// wait says whether a first status waits, and has the user evaluated when it is due. A user that was changed since its status began
// to wait waits no longer.
func (l *lateStatuses) wait(user *v1alpha1.User, boundAs string, now time.Time) bool {
	name, app := namesOf(user)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	known := l.users[name]
	switch {
	case !l.isImport(app, now):
		return false
	case known == nil || known.uid != user.UID:
		known = &lateStatus{app: app, uid: user.UID, generation: user.Generation, since: now}
	case known.generation != user.Generation || now.Sub(known.since) >= maxLate:
		return false
	}
	known.boundAs, known.due = boundAs, false
	if l.users == nil {
		l.users = map[types.NamespacedName]*lateStatus{}
	}
	l.users[name] = known
	select {
	case l.begun() <- struct{}{}:
	default:
	}
	return true
}

// renamed keeps the name by which bindings name a user that was renamed before its first status was written.
func (l *lateStatuses) renamed(user *v1alpha1.User, boundAs string) {
	name, app := namesOf(user)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if known := l.users[name]; known != nil && known.uid == user.UID {
		return
	}
	if l.users == nil {
		l.users = map[types.NamespacedName]*lateStatus{}
	}
	l.users[name] = &lateStatus{app: app, uid: user.UID, generation: user.Generation - 1, boundAs: boundAs, due: true}
}

func namesOf(user *v1alpha1.User) (name, app types.NamespacedName) {
	return types.NamespacedName{Namespace: user.Namespace, Name: user.Name}, types.NamespacedName{Namespace: user.Namespace, Name: user.Spec.App}
}

// of returns what is known of a user whose first status is not written yet.
func (l *lateStatuses) of(user *v1alpha1.User) (lateStatus, bool) {
	name, _ := namesOf(user)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	known := l.users[name]
	if known == nil || known.uid != user.UID {
		return lateStatus{}, false
	}
	return *known, true
}

// forget drops a user whose status was written, or that is gone.
func (l *lateStatuses) forget(user types.NamespacedName) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	delete(l.users, user)
}

// begun returns the channel that has an element where a status began to wait. The mutex is held.
func (l *lateStatuses) begun() chan struct{} {
	if l.first == nil {
		l.first = make(chan struct{}, 1)
	}
	return l.first
}

// takeDue returns the users whose statuses wait no longer, those first that waited longest, and whether others still wait.
func (l *lateStatuses) takeDue(now time.Time) (users []types.NamespacedName, more bool, begun <-chan struct{}) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for name, late := range l.users {
		switch {
		case late.due:
		case l.isImport(late.app, now) && now.Sub(late.since) < maxLate:
			more = true
		default:
			late.due = true
			users = append(users, name)
		}
	}
	slices.SortFunc(users, func(a, b types.NamespacedName) int { return l.users[a].since.Compare(l.users[b].since) })
	return users, more, l.begun()
}

// run calls wake with users whose statuses are due, until ctx ends.
func (l *lateStatuses) run(ctx context.Context, wake func(...types.NamespacedName)) error {
	for ctx.Err() == nil {
		users, more, begun := l.takeDue(time.Now())
		if len(users) > 0 {
			wake(users...)
		}
		if more {
			timer := time.NewTimer(lateLook)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
			continue
		}
		select {
		case <-begun:
		case <-ctx.Done():
		}
	}
	return nil
}

// observed is the generation that a status speaks of or, where the first one waits to be written, that was evaluated.
func (l *lateStatuses) observed(user *v1alpha1.User, status *v1alpha1.UserStatus) int64 {
	if late, found := l.of(user); found && status.ObservedGeneration == 0 {
		return late.generation
	}
	return status.ObservedGeneration
}

// formerName returns the name by which bindings named the user until the user was renamed; "" for none.
func (l *lateStatuses) formerName(user *v1alpha1.User, before *v1alpha1.UserStatus) string {
	former, boundAs := before.KubernetesUsername, before.BoundAs
	if late, found := l.of(user); found && before.ObservedGeneration == 0 {
		former, boundAs = late.boundAs, late.boundAs
	}
	if former != boundAs || former == user.Status.KubernetesUsername || !user.MayHaveAccess() || l.observed(user, before) == user.Generation {
		return ""
	}
	return former
}

// statusWaits says whether the status of this evaluation is written later. That of a user that has one already, that tells of a
// problem, or of a role that ends, never waits; nor does that of a user that may have no access.
func (e *evaluation) statusWaits(now time.Time) bool {
	status := &e.user.Status
	if status.UID != "" || status.ObservedGeneration != 0 || len(status.Conditions) > 0 || e.verdict.ready.Status != metav1.ConditionTrue || len(e.verdict.ended) > 0 {
		return false
	}
	if slices.ContainsFunc(e.verdict.roles, func(role v1alpha1.EarnedRole) bool { return role.Until != nil }) {
		return false
	}
	return e.late.wait(e.user, e.verdict.boundAs, now)
}
