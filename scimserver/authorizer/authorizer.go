// Package authorizer is an authorization webhook for API servers whose administrator runs them: it denies everything, reads
// included, to people whose access was revoked, of Apps that ask for it (spec.deactivation.denyRequests). Of everybody else
// it has no opinion, so that it grants nothing and stands in nobody's way.
//
// It stands beside the SCIM server, in the same process, and answers from memory: watches of Users, Apps and the
// RevocationList feed an index by Kubernetes user name (api/subjects). It writes nothing.
package authorizer

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/scim-operator/scim-operator/api/subjects"
	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Authorizer knows whom to deny. Make one with New; it is an http.Handler.
type Authorizer struct {
	users  client.Reader
	index  *subjects.Index
	synced []toolscache.InformerSynced
	// revoked is the RevocationList: names, and when their entries expire.
	revoked atomic.Pointer[map[string]time.Time]
}

// New returns an Authorizer that the manager feeds from caches of its own. namespace holds the RevocationList.
func New(ctx context.Context, mgr manager.Manager, namespace string) (*Authorizer, error) {
	people, err := newCache(mgr, cache.Options{DefaultTransform: reduce})
	if err != nil {
		return nil, err
	}
	lists, err := newCache(mgr, cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}})
	if err != nil {
		return nil, err
	}
	a := &Authorizer{users: people}
	a.index = subjects.New(a.usersOf)
	return a, errors.Join(
		a.follow(ctx, people, &v1alpha1.User{}, a.watchUsers()),
		a.follow(ctx, people, &v1alpha1.App{}, a.watchApps()),
		a.follow(ctx, lists, &v1alpha1.RevocationList{}, a.watchLists()),
	)
}

// newCache makes a cache that the manager starts with its own.
func newCache(mgr manager.Manager, options cache.Options) (cache.Cache, error) {
	options.HTTPClient, options.Scheme, options.Mapper = mgr.GetHTTPClient(), mgr.GetScheme(), mgr.GetRESTMapper()
	options.ReaderFailOnMissingInformer = true
	made, err := cache.New(mgr.GetConfig(), options)
	if err != nil {
		return nil, err
	}
	return made, mgr.Add(&ownCache{made})
}

type ownCache struct{ cache.Cache }

func (c *ownCache) GetCache() cache.Cache { return c.Cache }

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
	for _, condition := range user.Status.Conditions {
		if condition.Type == v1alpha1.ConditionNameReserved {
			condition.Message = ""
			small.Status.Conditions = append(small.Status.Conditions, condition)
		}
	}
	return small, nil
}

func (a *Authorizer) follow(ctx context.Context, from cache.Cache, kind client.Object, handler toolscache.ResourceEventHandler) error {
	informer, err := from.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return err
	}
	a.synced = append(a.synced, registration.HasSynced)
	return nil
}

// Ready fails until the Authorizer has seen every User and App, and the list, that there were when it began.
func (a *Authorizer) Ready(*http.Request) error {
	for _, synced := range a.synced {
		if !synced() {
			return errors.New("the authorizer is not in sync yet")
		}
	}
	return nil
}

// Denied says whether requests under a Kubernetes user name are to be denied.
func (a *Authorizer) Denied(name string) bool {
	if !subjects.Deniable(name) {
		return false
	}
	switch a.index.State(name) {
	case subjects.Active:
		return false
	case subjects.Revoked:
		return true
	}
	// People whose User is gone, or who went by this name before.
	list := a.revoked.Load()
	if list == nil {
		return false
	}
	expires, listed := (*list)[name]
	return listed && time.Now().Before(expires)
}

// usersOf lists the users of an App for the index.
func (a *Authorizer) usersOf(app types.NamespacedName) []*v1alpha1.User {
	var list v1alpha1.UserList
	if err := a.users.List(context.Background(), &list, client.InNamespace(app.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil // an informer's list does not fail once it is synchronised, and before that every user comes as an event
	}
	var users []*v1alpha1.User
	for i := range list.Items {
		if list.Items[i].Spec.App == app.Name {
			users = append(users, &list.Items[i])
		}
	}
	return users
}

func (a *Authorizer) watchUsers() toolscache.ResourceEventHandler {
	put := func(object any) {
		if user, ok := object.(*v1alpha1.User); ok {
			a.index.PutUser(user)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, object any) { put(object) },
		DeleteFunc: func(object any) {
			if user, ok := lastKnown(object).(*v1alpha1.User); ok {
				a.index.RemoveUser(client.ObjectKeyFromObject(user))
			}
		},
	}
}

func (a *Authorizer) watchApps() toolscache.ResourceEventHandler {
	put := func(object any) {
		if app, ok := object.(*v1alpha1.App); ok {
			a.index.PutApp(app)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, object any) { put(object) },
		DeleteFunc: func(object any) {
			if app, ok := lastKnown(object).(*v1alpha1.App); ok {
				a.index.RemoveApp(client.ObjectKeyFromObject(app))
			}
		},
	}
}

func (a *Authorizer) watchLists() toolscache.ResourceEventHandler {
	put := func(object any) {
		list, ok := object.(*v1alpha1.RevocationList)
		if !ok || list.Name != v1alpha1.RevocationListName {
			return
		}
		names := make(map[string]time.Time, len(list.Spec.Users))
		for name, expires := range list.Spec.Users {
			names[name] = expires.Time
		}
		a.revoked.Store(&names)
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, object any) { put(object) },
		DeleteFunc: func(object any) {
			if list, ok := lastKnown(object).(*v1alpha1.RevocationList); ok && list.Name == v1alpha1.RevocationListName {
				a.revoked.Store(nil)
			}
		},
	}
}

// lastKnown returns the object of a removal, also of one that the watch missed.
func lastKnown(object any) any {
	if missed, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		return missed.Obj
	}
	return object
}
