// Package authorizer is an authorization webhook for API servers that the cluster's administrator runs. It denies
// everything, reads included, to users with revoked access, of Apps that ask for it (spec.deactivation.denyRequests). It has
// no opinion of other users: it grants nothing, and blocks no other authorizer.
//
// It stands beside the SCIM server, in the same process, and answers from memory: watches of Users, Apps and the
// RevocationLists feed an index by Kubernetes user name (internal/userlookup). It writes nothing.
package authorizer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
	"github.com/scim-operator/scim-operator/internal/userlookup"
)

// Authorizer knows which user names to deny. Make one with New; it is an http.Handler.
type Authorizer struct {
	index  *userlookup.Index
	synced []toolscache.InformerSynced

	// lists are the RevocationLists; mutex guards them.
	mutex sync.RWMutex
	lists map[types.NamespacedName]revocations
}

// revocations of one App.
type revocations struct {
	prefix string
	// users maps names to when their entries expire.
	users map[string]time.Time
}

// New returns an Authorizer that the manager feeds from caches of its own. namespace holds the RevocationLists. It fails
// where the manager refuses a cache or an informer.
func New(ctx context.Context, mgr manager.Manager, namespace string) (*Authorizer, error) {
	people, err := informers.NewCache(mgr, cache.Options{DefaultTransform: reduce})
	if err != nil {
		return nil, err
	}
	lists, err := informers.NewCache(mgr, cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}})
	if err != nil {
		return nil, err
	}
	a := &Authorizer{index: userlookup.New(userlookup.UsersIn(people)), lists: map[types.NamespacedName]revocations{}}
	a.synced, err = informers.Feed(ctx,
		informers.Of(people, &v1alpha1.User{}, informers.States(
			func(user *v1alpha1.User) { a.index.PutUser(user) },
			func(user *v1alpha1.User) { a.index.RemoveUser(user) },
		)),
		informers.Of(people, &v1alpha1.App{}, informers.States(func(app *v1alpha1.App) { a.index.PutApp(app) }, a.index.RemoveApp)),
		informers.Of(lists, &v1alpha1.RevocationList{}, informers.States(a.sawList, a.lostList)),
	)
	return a, err
}

// reduce keeps of a User what its name and its access depend on.
func reduce(object any) (any, error) {
	user, ok := object.(*v1alpha1.User)
	if !ok {
		return object, nil
	}
	small := &v1alpha1.User{}
	small.Namespace, small.Name, small.ResourceVersion = user.Namespace, user.Name, user.ResourceVersion
	small.DeletionTimestamp = user.DeletionTimestamp
	small.Spec.App, small.Spec.UserName, small.Spec.UserNameKey = user.Spec.App, user.Spec.UserName, user.Spec.UserNameKey
	small.Spec.ExternalID, small.Spec.Active, small.Spec.Suspended = user.Spec.ExternalID, user.Spec.Active, user.Spec.Suspended
	if email := user.Spec.PrimaryEmail(); email != "" {
		small.Spec.Emails = []v1alpha1.MultiValue{{Value: email}}
	}
	small.Status.KubernetesUsername, small.Status.ReservedKey = user.Status.KubernetesUsername, user.Status.ReservedKey
	if end := userlookup.LastEnd(&user.Status); !end.IsZero() {
		small.Status.Roles = []v1alpha1.EarnedRole{{Until: &metav1.Time{Time: end}}}
	}
	for _, condition := range user.Status.Conditions {
		if condition.Type == v1alpha1.ConditionNameReserved {
			condition.Message = ""
			small.Status.Conditions = append(small.Status.Conditions, condition)
		}
	}
	return small, nil
}

// Ready fails until the Authorizer has seen every User and App, and the lists, that there were when it began.
func (a *Authorizer) Ready() error {
	for _, synced := range a.synced {
		if !synced() {
			return errors.New("the authorizer is not in sync yet")
		}
	}
	return nil
}

// mastersGroup is the group of the cluster's administrators: no identity provider locks them out.
const mastersGroup = "system:masters"

// Denied says whether requests under a Kubernetes user name are to be denied. groups are those of the request's user.
func (a *Authorizer) Denied(name string, groups []string) bool {
	if !userlookup.Deniable(name) || slices.Contains(groups, mastersGroup) {
		return false
	}
	now := time.Now()
	switch a.index.StateAt(name, now) {
	case userlookup.Active:
		return false
	case userlookup.Revoked:
		return true
	case userlookup.Unknown:
	}
	// The lists name users without a User object, and former names.
	a.mutex.RLock()
	defer a.mutex.RUnlock()
	for _, list := range a.lists {
		if expires, listed := list.users[name]; listed && now.Before(expires) && !a.index.Outranked(list.prefix, name) {
			return true
		}
	}
	return false
}

func (a *Authorizer) sawList(list *v1alpha1.RevocationList) {
	app, isOurs := list.AppName()
	if !isOurs {
		return
	}
	known := revocations{prefix: list.Spec.Prefix, users: list.Spec.Users()}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.lists[app] = known
}

func (a *Authorizer) lostList(list *v1alpha1.RevocationList) {
	app, isOurs := list.AppName()
	if !isOurs {
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	delete(a.lists, app)
}
