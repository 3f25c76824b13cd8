// Package informers feeds memory from watches: it joins functions of typed objects to the informers of a cache, and tells when
// they have heard of everything that there was at the start.
//
// The SCIM server and the controller answer from memory of their own, in shapes that no cache has; this is how it gets there.
// Watches makes the caches. It leaves out what Go cannot decode, so that one object stops no watch.
package informers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Watch is a kind of object that a handler follows in a cache.
type Watch struct {
	from    cache.Cache
	kind    client.Object
	handler toolscache.ResourceEventHandler
}

// Of returns the Watch of a kind in a cache.
func Of(from cache.Cache, kind client.Object, handler toolscache.ResourceEventHandler) Watch {
	return Watch{from: from, kind: kind, handler: handler}
}

// Feed begins to tell the handlers of every object of their kinds. The functions that it returns tell whether each has heard
// of all objects that there were when it began. It does not wait for that. It fails, with the kind, where an informer cannot
// be had.
func Feed(ctx context.Context, watches ...Watch) (synced []toolscache.InformerSynced, err error) {
	for _, watch := range watches {
		informer, err := watch.from.GetInformer(ctx, watch.kind, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", watch.kind, err)
		}
		registration, err := informer.AddEventHandler(watch.handler)
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", watch.kind, err)
		}
		synced = append(synced, registration.HasSynced)
	}
	return synced, nil
}

// States hands each state of an object to put, and to remove, once it is gone, the last one that is known: a watch may have
// missed the end.
func States[T any](put, remove func(T)) toolscache.ResourceEventHandler {
	given := func(to func(T)) func(any) {
		return func(object any) {
			if typed, ok := lastKnown(object).(T); ok {
				to(typed)
			}
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: given(put), UpdateFunc: func(_, object any) { given(put)(object) }, DeleteFunc: given(remove),
	}
}

// Changes hands over both states of each change. The zero value of T stands before what is new, and after what is gone.
func Changes[T any](changed func(before, after T)) toolscache.ResourceEventHandler {
	change := func(before, after any) {
		old, was := lastKnown(before).(T)
		state, is := after.(T)
		if was || is {
			changed(old, state)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(after any) { change(nil, after) },
		UpdateFunc: change,
		DeleteFunc: func(before any) { change(before, nil) },
	}
}

func lastKnown(object any) any {
	if missed, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		return missed.Obj
	}
	return object
}

// NewCache makes a cache with options of its own, which the manager starts together with its own cache, before any controller. Where
// Watches made the manager's cache, they make this one.
// To read a kind from it that nothing follows is an error, and begins no watch.
func NewCache(mgr manager.Manager, options cache.Options) (cache.Cache, error) {
	options.ReaderFailOnMissingInformer = true
	options.HTTPClient, options.Scheme, options.Mapper = mgr.GetHTTPClient(), mgr.GetScheme(), mgr.GetRESTMapper()
	newCache := cache.New
	if own, ok := mgr.GetCache().(*watchedCache); ok {
		newCache = own.watches.NewCache
	}
	made, err := newCache(mgr.GetConfig(), options)
	if err != nil {
		return nil, err
	}
	return made, mgr.Add(&startedWithCaches{made})
}

// startedWithCaches is what the manager takes for a cache.
type startedWithCaches struct{ cache.Cache }

func (c *startedWithCaches) GetCache() cache.Cache { return c.Cache }

// Older says whether a resourceVersion is older than another one of the same object. What cannot be compared is not: an
// informer's events come in order.
func Older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}
