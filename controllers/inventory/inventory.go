// Package inventory counts users and groups by App and state, and tokens by when they expire and were last used, for metrics
// and the status page. It reads informers and writes nothing, so that a standby tells the same as the leader.
//
// Users and groups are counted as watches tell of them: a scrape costs the same with ten users and with a million. Series are
// made for Apps that exist, and for tokens that their App accepts, 32 an App.
package inventory

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Counts of an App.
type Counts struct {
	// Users and Groups by state.
	Users, Groups map[string]int
	// Residual counts users with revoked access that other bindings still name.
	Residual int
}

// Inventory counts what one manager's informers hold. New makes one.
type Inventory struct {
	reader client.Reader

	mutex sync.Mutex
	apps  map[types.NamespacedName]*Counts
}

// Add has the manager's informers counted, and the counts shown in metrics while the manager runs. It fails where the manager
// has no informer of a kind.
func Add(ctx context.Context, mgr manager.Manager) (*Inventory, error) {
	inventory := &Inventory{reader: mgr.GetCache(), apps: map[types.NamespacedName]*Counts{}}
	for _, kind := range []struct {
		object client.Object
		count  func(object any, by int)
	}{{&v1alpha1.User{}, inventory.countUser}, {&v1alpha1.Group{}, inventory.countGroup}} {
		informer, err := mgr.GetCache().GetInformer(ctx, kind.object)
		if err != nil {
			return nil, err
		}
		if _, err := informer.AddEventHandler(inventory.handler(kind.count)); err != nil {
			return nil, err
		}
	}
	return inventory, mgr.Add(inventory)
}

func (i *Inventory) handler(count func(object any, by int)) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { count(object, 1) },
		UpdateFunc: func(before, after any) { count(before, -1); count(after, 1) },
		DeleteFunc: func(object any) {
			if last, unknown := object.(toolscache.DeletedFinalStateUnknown); unknown {
				object = last.Obj
			}
			count(object, -1)
		},
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: a standby counts, too.
func (i *Inventory) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (i *Inventory) Start(ctx context.Context) error {
	defer shown.add(i)()
	<-ctx.Done()
	return nil
}

func (i *Inventory) countUser(object any, by int) {
	user, ok := object.(*v1alpha1.User)
	if !ok {
		return
	}
	i.mutex.Lock()
	defer i.mutex.Unlock()
	name := types.NamespacedName{Namespace: user.Namespace, Name: user.Spec.App}
	counts := i.of(name)
	add(counts.Users, UserState(user), by)
	if user.Status.ResidualAccessCount > 0 {
		counts.Residual += by
	}
	i.drop(name, counts)
}

func (i *Inventory) countGroup(object any, by int) {
	if group, ok := object.(*v1alpha1.Group); ok {
		i.mutex.Lock()
		defer i.mutex.Unlock()
		name := types.NamespacedName{Namespace: group.Namespace, Name: group.Spec.App}
		counts := i.of(name)
		add(counts.Groups, GroupState(group), by)
		i.drop(name, counts)
	}
}

// add changes a count, and forgets it at zero.
func add(counts map[string]int, state string, by int) {
	if counts[state] += by; counts[state] == 0 {
		delete(counts, state)
	}
}

// drop forgets an App without users and groups: what Apps leave behind must not add up. The mutex is held.
func (i *Inventory) drop(app types.NamespacedName, counts *Counts) {
	if len(counts.Users) == 0 && len(counts.Groups) == 0 {
		delete(i.apps, app)
	}
}

// of returns the counts of an App; the mutex is held.
func (i *Inventory) of(name types.NamespacedName) *Counts {
	counts := i.apps[name]
	if counts == nil {
		counts = &Counts{Users: map[string]int{}, Groups: map[string]int{}}
		i.apps[name] = counts
	}
	return counts
}

// Of returns the counts of an App, with zeros for states that no user and no group is in.
func (i *Inventory) Of(app types.NamespacedName) Counts {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	sum := Counts{Users: map[string]int{}, Groups: map[string]int{}}
	known := i.apps[app]
	if known == nil {
		known = &sum
	}
	sum.Residual = known.Residual
	for _, state := range UserStates {
		sum.Users[state] = known.Users[state]
	}
	for _, state := range GroupStates {
		sum.Groups[state] = known.Groups[state]
	}
	return sum
}
