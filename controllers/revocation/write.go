package revocation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/schedule"
	"github.com/scim-operator/scim-operator/internal/userlookup"
)

const (
	// pace is the least time from the beginning of one write to the next: every write is sent to each API server.
	pace         = 50 * time.Millisecond
	writeTimeout = 30 * time.Second
	maxBackoff   = 15 * time.Second
	// conflicts in a row that one write puts up with: there is no other writer but a former leader.
	conflicts = 5
)

// errStopped is the error of a write that did not begin: the process leads no more.
var errStopped = errors.New("this process leads no more")

// written is how a write ended.
type written struct{ err error }

func (k *Keeper) newWrites() *schedule.Scheduler[types.NamespacedName, struct{}, written] {
	return schedule.New(schedule.Options[types.NamespacedName, struct{}, written]{
		Run: func(_ context.Context, app types.NamespacedName, _ *schedule.Run[struct{}]) (written, schedule.Ending) {
			return written{k.writeNow(app)}, schedule.Ended
		},
		Finished: func(app types.NamespacedName, _ struct{}, _ written, _ time.Duration) time.Duration {
			k.mutex.Lock()
			defer k.mutex.Unlock()
			return time.Until(k.list(app).notBefore)
		},
	})
}

// enqueue asks for a write of a list that begins after the call; the mutex is held.
func (k *Keeper) enqueue(l *appList) *schedule.Ticket[written] {
	return k.writes.Schedule(l.app, struct{}{}, false)
}

// writeNow writes a list once, unless the process leads no more.
func (k *Keeper) writeNow(app types.NamespacedName) error {
	k.mutex.Lock()
	if k.stop.Err() != nil {
		k.mutex.Unlock()
		return errStopped
	}
	k.underWay.Add(1)
	defer k.underWay.Done()
	l := k.list(app)
	l.notBefore = time.Now().Add(pace)
	before := l.omitted
	k.mutex.Unlock()
	err := k.write(l)
	if after := k.conclude(l, err); before != after && k.onFull != nil {
		k.onFull(app)
	}
	return err
}

// conclude has a write that failed come back, whether a caller waits for it or not, and the list looked at when its next
// entry expires. It returns how many people the list leaves out.
func (k *Keeper) conclude(l *appList, err error) int32 {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	l.writing = false
	if event := l.event; event != nil {
		l.event = nil
		k.takeIn(l, event)
	}
	if err != nil {
		l.dirty = true
		l.failures++
		l.notBefore = time.Now().Add(min(pace<<min(l.failures, 16), maxBackoff))
		k.enqueue(l)
		return l.omitted
	}
	l.failures = 0
	if l.expiry != nil {
		l.expiry.Stop()
		l.expiry = nil
	}
	if len(l.entries) == 0 {
		return l.omitted
	}
	first := slices.MinFunc(slices.Collect(maps.Values(l.entries)), time.Time.Compare)
	l.expiry = time.AfterFunc(time.Until(first), func() {
		k.mutex.Lock()
		defer k.mutex.Unlock()
		l.dirty = true
		k.enqueue(l)
	})
	return l.omitted
}

// write brings a list in line with the entries.
func (k *Keeper) write(l *appList) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		object, content := k.plan(l)
		if object == nil {
			return nil
		}
		err := k.send(ctx, object, len(content) == 0)
		if err == nil {
			writes.WithLabelValues("success").Inc()
			if len(content) == 0 {
				object = nil
			}
			k.mutex.Lock()
			l.object, l.listed = object, content
			k.mutex.Unlock()
			return nil
		}
		lost := apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
		if !lost || attempt == conflicts {
			writes.WithLabelValues("error").Inc()
			log.Log.WithName("revocation").Error(err, "Failed to write the RevocationList", "namespace", l.app.Namespace, "app", l.app.Name)
			return fmt.Errorf("the RevocationList could not be written: %w", err)
		}
		writes.WithLabelValues("conflict").Inc()
		current, err := k.read(ctx, l.app)
		if err != nil {
			return err
		}
		k.mutex.Lock()
		k.merge(l, current)
		k.mutex.Unlock()
	}
}

// send creates, updates or deletes a list, unless it changed since it was read. An empty list would cost every write in the
// cluster a look at it.
func (k *Keeper) send(ctx context.Context, object *v1alpha1.RevocationList, isEmpty bool) error {
	switch {
	case isEmpty:
		return k.Live.Delete(ctx, object, client.Preconditions{UID: &object.UID, ResourceVersion: &object.ResourceVersion})
	case object.ResourceVersion == "":
		return k.Live.Create(ctx, object)
	}
	return k.Live.Update(ctx, object)
}

// plan returns the list to write with its content, or nil where it is as it should be.
func (k *Keeper) plan(l *appList) (*v1alpha1.RevocationList, map[string]time.Time) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	l.writing, l.dirty = true, false
	content, omitted := k.content(l, time.Now())
	l.omitted = omitted
	note(l.app, len(content), omitted)
	if l.object == nil && len(content) == 0 {
		return nil, nil
	}
	if l.object != nil && maps.EqualFunc(content, l.listed, time.Time.Equal) && l.object.Spec.Omitted == omitted && l.object.Spec.Prefix == l.prefix {
		return nil, nil
	}
	object := &v1alpha1.RevocationList{ObjectMeta: metav1.ObjectMeta{
		Namespace: k.Namespace, Name: v1alpha1.RevocationListName(l.app),
		Labels: map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue},
	}}
	if l.object != nil {
		object = l.object.DeepCopy()
	}
	object.Spec = v1alpha1.RevocationListSpec{
		App:    v1alpha1.RevocationListApp{Namespace: l.app.Namespace, Name: l.app.Name},
		Prefix: l.prefix, Omitted: omitted,
	}
	object.Spec.SetUsers(content)
	return object, content
}

// content drops entries that expired, and all where the App denies nothing. It returns those that the list is to hold, and how many it
// has no room for: those longest ago.
func (k *Keeper) content(l *appList, now time.Time) (content map[string]time.Time, omitted int32) {
	if l.lifted {
		clear(l.entries)
	}
	maps.DeleteFunc(l.entries, func(_ string, expires time.Time) bool { return !expires.After(now) })
	content = make(map[string]time.Time, len(l.entries))
	for name, expires := range l.entries {
		switch {
		case k.index.State(name) == userlookup.Active || k.index.Outranked(l.prefix, name):
		case v1alpha1.CanBeListed(name):
			content[name] = expires
		default:
			omitted++
		}
	}
	names := slices.SortedFunc(maps.Keys(content), func(a, b string) int {
		return cmp.Or(content[b].Compare(content[a]), cmp.Compare(b, a))
	})
	room := v1alpha1.MaxRevocationText
	for i, name := range names { // the latest first
		if room -= len(v1alpha1.RevocationEntry(name, content[name])); i >= v1alpha1.MaxRevocations || room < 0 {
			delete(content, name)
			omitted++
		}
	}
	return content, omitted
}

// merge takes in a state of a list that this process did not write; nil where it is gone. Entries that appeared count from
// then on, for a lifetime at most. Entries that went are put back, unless no User supports them; the mutex is held.
func (k *Keeper) merge(l *appList, object *v1alpha1.RevocationList) {
	theirs := map[string]time.Time{}
	if object != nil {
		theirs = object.Spec.Users()
	}
	limit := time.Now().Add(lifetime).Truncate(time.Second)
	for name, expires := range theirs {
		before, listed := l.listed[name]
		if !userlookup.Deniable(name) || listed && before.Equal(expires) {
			continue
		}
		if expires.After(limit) {
			expires = limit
		}
		if known, found := l.entries[name]; !found || expires.After(known) {
			l.entries[name] = expires
		}
	}
	for name := range l.listed {
		if _, stays := theirs[name]; !stays && k.index.State(name) == userlookup.Unknown {
			delete(l.entries, name)
		}
	}
	l.object, l.listed = object, theirs
}
