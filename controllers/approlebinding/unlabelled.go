package approlebinding

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding/overlay"
	"github.com/scim-operator/scim-operator/internal/earned"
	"github.com/scim-operator/scim-operator/internal/informers"
)

const (
	// maxUnlabelled bounds how many are followed in one cache: more are no accident but an attack.
	maxUnlabelled = 1000
	// maxIndex bounds the search for the index of a chunk behind a label that is a hash.
	maxIndex = 4096
)

// madeName is how this operator names native bindings.
var madeName = regexp.MustCompile(`^scim-[a-z2-7]{20}$`)

// unlabelledBindings are native bindings that have a name as this operator makes them, and not the labels and annotations that
// belong to it: others took them away, or changed them, so that no informer shows the binding under its key. Every replica
// follows them, so that a new leader knows of those that came about while no replica led. The zero value is ready to use.
type unlabelledBindings struct {
	mutex sync.Mutex
	// labelled are those that carry this operator's label all the same, others those that do not: each as one cache shows them.
	labelled, others map[overlay.ID]rbacv1.RoleRef
	queue            workqueue.TypedRateLimitingInterface[overlay.ID]
	synced           []toolscache.InformerSynced
	log              logr.Logger
}

// addUnlabelled follows unlabelled bindings, and has the keys that their names stand for put them right. others is a cache of the bindings
// without this operator's label.
func addUnlabelled(ctx context.Context, mgr manager.Manager, s *Syncer, others cache.Cache) error {
	unlabelledBindings, own := &s.unlabelledBindings, mgr.GetCache()
	unlabelledBindings.log = mgr.GetLogger().WithName("stray")
	unlabelledBindings.labelled, unlabelledBindings.others = map[overlay.ID]rbacv1.RoleRef{}, map[overlay.ID]rbacv1.RoleRef{}
	var err error
	unlabelledBindings.synced, err = informers.Feed(ctx,
		informers.Of(own, &rbacv1.RoleBinding{}, unlabelledBindings.follow(unlabelledBindings.labelled, isMarked)),
		informers.Of(own, &rbacv1.ClusterRoleBinding{}, unlabelledBindings.follow(unlabelledBindings.labelled, isMarked)),
		informers.Of(others, &rbacv1.RoleBinding{}, unlabelledBindings.follow(unlabelledBindings.others, nil)),
		informers.Of(others, &rbacv1.ClusterRoleBinding{}, unlabelledBindings.follow(unlabelledBindings.others, nil)),
	)
	if err != nil {
		return err
	}
	c, err := controller.NewTyped("stray", mgr, controller.TypedOptions[overlay.ID]{
		Reconciler:  reconcile.TypedFunc[overlay.ID](unlabelledController{s}.reconcile),
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[overlay.ID](100*time.Millisecond, maxBackoff),
		LogConstructor: func(id *overlay.ID) logr.Logger {
			if id == nil {
				return unlabelledBindings.log
			}
			return unlabelledBindings.log.WithValues("kind", id.Kind, "namespace", id.Namespace, "name", id.Name)
		},
	})
	if err != nil {
		return err
	}
	return c.Watch(source.TypedFunc[overlay.ID](unlabelledBindings.takeQueue))
}

// knownUnlabelled has a controller wait until every unlabelled binding is known that there was at the start.
type knownUnlabelled struct {
	*unlabelledBindings
	source.TypedFunc[earned.RoleInScope]
}

// Start is source.Source.
func (k knownUnlabelled) Start(ctx context.Context, q queue) error { return k.TypedFunc(ctx, q) }

// WaitForSync is source.SyncingSource.
func (k knownUnlabelled) WaitForSync(ctx context.Context) error {
	if !toolscache.WaitForCacheSync(ctx.Done(), k.synced...) {
		return fmt.Errorf("waiting for the bindings by others: %w", ctx.Err())
	}
	return nil
}

func (s *unlabelledBindings) takeQueue(_ context.Context, q workqueue.TypedRateLimitingInterface[overlay.ID]) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.queue = q
	for _, set := range []map[overlay.ID]rbacv1.RoleRef{s.labelled, s.others} {
		for id := range set {
			q.Add(id)
		}
	}
	return nil
}

// follow keeps a set of unlabelled bindings as one cache shows them. isMarked tells which bindings are none, whatever their names; nil for
// none of those.
func (s *unlabelledBindings) follow(set map[overlay.ID]rbacv1.RoleRef, isMarked func(client.Object) bool) toolscache.ResourceEventHandler {
	forget := func(object client.Object) {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		delete(set, overlay.IDOf(object))
	}
	return informers.States(func(object client.Object) {
		if !madeName.MatchString(object.GetName()) {
			return
		}
		if isMarked != nil && isMarked(object) {
			forget(object)
			return
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		id := overlay.IDOf(object)
		if _, known := set[id]; !known && len(set) >= maxUnlabelled {
			s.log.Info("Too many bindings have names as this operator makes them and not its marks: this one is not looked at",
				"kind", id.Kind, "namespace", id.Namespace, "name", id.Name)
			return
		}
		set[id] = nativeOf(object).roleRef
		if s.queue != nil {
			s.queue.Add(id)
		}
	}, forget)
}

// all returns the unlabelled bindings that there are, with the roles that they bind.
func (s *unlabelledBindings) all() map[overlay.ID]rbacv1.RoleRef {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found := make(map[overlay.ID]rbacv1.RoleRef, len(s.labelled)+len(s.others))
	for _, set := range []map[overlay.ID]rbacv1.RoleRef{s.labelled, s.others} {
		for id, ref := range set {
			found[id] = ref
		}
	}
	return found
}

// unlabelledController has the keys run that unlabelled bindings belong to.
type unlabelledController struct{ syncer *Syncer }

// reconcile runs in full the key that the name of an unlabelled binding stands for. A binding that belongs to no key is
// by other hands, and stays.
func (c unlabelledController) reconcile(ctx context.Context, id overlay.ID) (reconcile.Result, error) {
	ref, found := c.syncer.unlabelledBindings.all()[id]
	if !found {
		return reconcile.Result{}, nil
	}
	key, found, err := c.keyOfName(ctx, id.Name, ref)
	if err != nil || !found {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, c.syncer.syncWithStatus(ctx, key, true).Err()
}

// keyOfName finds the key that makes a native binding of that name, among those that have AppRoleBindings or a holder. It fails
// where informers cannot be read.
func (c unlabelledController) keyOfName(ctx context.Context, name string, ref rbacv1.RoleRef) (earned.RoleInScope, bool, error) {
	var list v1alpha1.AppRoleBindingList
	if err := c.syncer.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return earned.RoleInScope{}, false, err
	}
	last := map[earned.RoleInScope]int32{}
	for _, key := range c.syncer.Index.Held() {
		last[key] = 0
	}
	for i := range list.Items {
		key, index := earned.RoleInScopeOf(&list.Items[i]), list.Items[i].Spec.Index
		if nativeName(key, index, ref) == name {
			return key, true, nil
		}
		last[key] = max(last[key], index)
	}
	for key, index := range last {
		if newNativeNames(key, index).isOwn(overlay.ID{Name: name}, ref) {
			return key, true, nil
		}
	}
	return earned.RoleInScope{}, false, nil
}

// IsMade reports whether a native binding is one that this operator makes: its name is the hash of what it was made for, and its labels
// and annotations say the same.
func IsMade(native client.Object) bool {
	return madeName.MatchString(native.GetName()) && isMarked(native)
}

// isMarked reports whether a native binding has the labels and annotations that belong to its name.
func isMarked(object client.Object) bool {
	key, found := keyOfNative(object)
	if !found {
		return false
	}
	index, found := indexOfLabel(key, object.GetLabels()[v1alpha1.LabelBinding])
	return found && nativeName(key, index, nativeOf(object).roleRef) == object.GetName()
}

// indexOfLabel returns the index of the chunk that a native binding was made from, as its label tells.
func indexOfLabel(k earned.RoleInScope, label string) (int32, bool) {
	if text, found := strings.CutPrefix(label, bindingPrefix(k)); found {
		index, err := strconv.ParseInt(text, 10, 32)
		return int32(index), err == nil
	}
	for index := range int32(maxIndex) {
		name := bindingName(k, index)
		if labelValue(name) == name {
			return 0, false // it would not be a hash
		}
		if labelValue(name) == label {
			return index, true
		}
	}
	return 0, false
}
