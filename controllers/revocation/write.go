package revocation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/subjects"
)

const (
	// pace is the least time from the beginning of one write to the next: every write is sent to each API server.
	pace         = 50 * time.Millisecond
	writeTimeout = 30 * time.Second
	maxBackoff   = 15 * time.Second
	// conflicts in a row that one write puts up with: there is no other writer but a former leader.
	conflicts = 5
)

// enqueue asks for a write that begins after the call; the mutex is held.
func (k *Keeper) enqueue() *batch {
	if k.next == nil {
		k.next = &batch{done: make(chan struct{})}
	}
	if !k.running && k.entries != nil && k.stop.Err() == nil {
		k.running = true
		k.workers.Go(k.work)
	}
	return k.next
}

// work writes batches, one after the other, until none is left or the process leads no more. Whoever waits then waits for
// their own context.
func (k *Keeper) work() {
	for {
		k.mutex.Lock()
		rest := time.Until(k.notBefore)
		k.mutex.Unlock()
		if rest > 0 {
			select {
			case <-time.After(rest):
			case <-k.stop.Done():
			}
		}
		k.mutex.Lock()
		current := k.next
		k.next = nil
		if current == nil || k.stop.Err() != nil {
			k.running = false
			k.mutex.Unlock()
			return
		}
		k.notBefore = time.Now().Add(pace)
		k.mutex.Unlock()
		current.err = k.write()
		k.conclude(current.err)
		close(current.done)
	}
}

// conclude has a write that failed come back, whether somebody waits for it or not, and the list looked at when its next
// entry expires.
func (k *Keeper) conclude(err error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.writing = false
	if event := k.event; event != nil {
		k.event = nil
		k.takeIn(event)
	}
	if err != nil {
		k.dirty = true
		k.failures++
		k.notBefore = time.Now().Add(min(pace<<min(k.failures, 16), maxBackoff))
		k.enqueue()
		return
	}
	k.failures = 0
	if k.expiry != nil {
		k.expiry.Stop()
		k.expiry = nil
	}
	if len(k.entries) == 0 {
		return
	}
	first := slices.MinFunc(slices.Collect(maps.Values(k.entries)), time.Time.Compare)
	k.expiry = time.AfterFunc(time.Until(first), func() {
		k.mutex.Lock()
		defer k.mutex.Unlock()
		k.dirty = true
		k.enqueue()
	})
}

// write brings the list in line with the entries.
func (k *Keeper) write() error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		object, content := k.plan()
		if object == nil {
			return nil
		}
		var err error
		if object.ResourceVersion == "" {
			err = k.Live.Create(ctx, object)
		} else {
			err = k.Live.Update(ctx, object) // refused where the list changed since it was read
		}
		if err == nil {
			writes.WithLabelValues("success").Inc()
			k.mutex.Lock()
			k.object, k.listed = object, content
			k.mutex.Unlock()
			return nil
		}
		lost := apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
		if !lost || attempt == conflicts {
			writes.WithLabelValues("error").Inc()
			log.Log.WithName("revocation").Error(err, "Failed to write the RevocationList")
			return fmt.Errorf("the RevocationList could not be written: %w", err)
		}
		writes.WithLabelValues("conflict").Inc()
		current, err := k.read(ctx)
		if err != nil {
			return err
		}
		k.mutex.Lock()
		k.merge(current)
		k.mutex.Unlock()
	}
}

// plan returns the list to write with its content, or nil where it is as it should be.
func (k *Keeper) plan() (*v1alpha1.RevocationList, map[string]time.Time) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.writing, k.dirty = true, false
	content, omitted := k.content(time.Now())
	revocations.Set(float64(len(content)))
	revocationsOmitted.Set(float64(omitted))
	if k.object == nil && len(content) == 0 {
		return nil, nil
	}
	if k.object != nil && maps.EqualFunc(content, k.listed, time.Time.Equal) && k.object.Spec.Omitted == omitted {
		return nil, nil
	}
	object := &v1alpha1.RevocationList{ObjectMeta: metav1.ObjectMeta{
		Namespace: k.Namespace, Name: v1alpha1.RevocationListName,
		Labels: map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue},
	}}
	if k.object != nil {
		object = k.object.DeepCopy()
	}
	object.Spec = v1alpha1.RevocationListSpec{Users: make(map[string]metav1.Time, len(content)), Omitted: omitted}
	for name, expires := range content {
		object.Spec.Users[name] = metav1.Time{Time: expires}
	}
	return object, content
}

// content drops entries that expired and returns those that the list is to hold, and how many it has no room for: those
// longest ago.
func (k *Keeper) content(now time.Time) (content map[string]time.Time, omitted int32) {
	maps.DeleteFunc(k.entries, func(_ string, expires time.Time) bool { return !expires.After(now) })
	content = make(map[string]time.Time, len(k.entries))
	for name, expires := range k.entries {
		if k.index.State(name) != subjects.Active {
			content[name] = expires
		}
	}
	excess := len(content) - v1alpha1.MaxRevocations
	if excess <= 0 {
		return content, 0
	}
	names := slices.SortedFunc(maps.Keys(content), func(a, b string) int {
		return cmp.Or(content[a].Compare(content[b]), cmp.Compare(a, b))
	})
	for _, name := range names[:excess] {
		delete(content, name)
	}
	return content, int32(excess)
}

// merge takes in a state of the list that this process did not write; nil where it is gone. Entries that appeared count from
// then on, for a lifetime at most. Entries that went are put back, unless no User supports them; the mutex is held.
func (k *Keeper) merge(object *v1alpha1.RevocationList) {
	theirs := map[string]time.Time{}
	if object != nil {
		for name, expires := range object.Spec.Users {
			theirs[name] = expires.Time
		}
	}
	limit := time.Now().Add(lifetime).Truncate(time.Second)
	for name, expires := range theirs {
		before, listed := k.listed[name]
		if !subjects.Deniable(name) || listed && before.Equal(expires) {
			continue
		}
		if expires.After(limit) {
			expires = limit
		}
		if known, found := k.entries[name]; !found || expires.After(known) {
			k.entries[name] = expires
		}
	}
	for name := range k.listed {
		if _, stays := theirs[name]; !stays && k.index.State(name) == subjects.Unknown {
			delete(k.entries, name)
		}
	}
	k.object, k.listed = object, theirs
}
