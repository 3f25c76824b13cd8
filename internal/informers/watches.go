package informers

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Watches makes caches with watches that survive objects that Go cannot decode. It knows these objects, and the watches that
// fail altogether. One object of one tenant must not stop the work for the others.
//
// An unreadable object is left out, as if it did not exist: a handler that knew it is told of its end. What cannot be read
// gives nothing: it opens no token, makes no user active and grants no role.
//
// The zero value is ready; its fields must not be changed once a cache was made. Safe for concurrent use.
type Watches struct {
	// Log gets a line for each unreadable object.
	Log logr.Logger
	// Salvage names kinds of which an unreadable object is kept without the values that cannot be decoded, and the annotation that
	// tells of it, in memory. What follows such a kind must heed the annotation.
	Salvage map[string]string

	mu         sync.Mutex
	tell       func(UnreadableError)
	unreadable map[objectKey]*sighting
	failing    map[*follower]Failure
}

// Failure is a list or a watch that does not come about.
type Failure struct {
	Kind  string
	Since time.Time
	Err   error
}

type objectKey struct {
	kind schema.GroupVersionKind
	name types.NamespacedName
}

// sighting is one unreadable object and the followers that skip it.
type sighting struct {
	UnreadableError
	by map[*follower]struct{}
}

// NewCache is a cache.NewCacheFunc, for a manager. It fails where the configuration makes no client or no cache.
func (w *Watches) NewCache(config *rest.Config, options cache.Options) (cache.Cache, error) {
	if options.HTTPClient == nil {
		httpClient, err := rest.HTTPClientFor(config)
		if err != nil {
			return nil, err
		}
		options.HTTPClient = httpClient
	}
	filtered := *options.HTTPClient
	if filtered.Transport == nil {
		filtered.Transport = http.DefaultTransport
	}
	filtered.Transport = &filter{next: filtered.Transport}
	options.HTTPClient = &filtered
	options.NewInformer = func(from toolscache.ListerWatcher, object runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
		gvk, err := apiutil.GVKForObject(object, options.Scheme)
		if err != nil {
			gvk.Kind = fmt.Sprintf("%T", object) // a name for messages; the cache has resolved it before
		}
		f := &follower{
			watches: w, from: toolscache.ToListerWatcherWithContext(from), kind: gvk, of: reflect.TypeOf(object).Elem(),
			skipped: map[types.NamespacedName]struct{}{},
		}
		showKind(gvk.Kind)
		return toolscache.NewSharedIndexInformer(Retrying(f), object, resync, indexers)
	}
	made, err := cache.New(config, options)
	if err != nil {
		return nil, err
	}
	return &watchedCache{Cache: made, watches: w}, nil
}

// watchedCache is a cache with the Watches that made it, so that other caches of its manager are made in the same way.
type watchedCache struct {
	cache.Cache
	watches *Watches
}

// Tell has further unreadable objects told to a function, and first all that there are. It must not block.
func (w *Watches) Tell(tell func(UnreadableError)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell = tell
	for _, seen := range w.unreadable {
		tell(seen.UnreadableError)
	}
}

// Unreadable lists the objects that are skipped now, in no order.
func (w *Watches) Unreadable() []UnreadableError {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]UnreadableError, 0, len(w.unreadable))
	for _, seen := range w.unreadable {
		list = append(list, seen.UnreadableError)
	}
	return list
}

// Failing lists what has failed without a success in between, the longest failing first.
func (w *Watches) Failing() []Failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.failing), func(a, b Failure) int { return a.Since.Compare(b.Since) })
}

func (w *Watches) saw(u UnreadableError, by *follower) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unreadable == nil {
		w.unreadable = map[objectKey]*sighting{}
	}
	key := objectKey{u.Kind, u.Name}
	seen := w.unreadable[key]
	known := seen != nil && seen.ResourceVersion == u.ResourceVersion
	if seen == nil {
		seen = &sighting{by: map[*follower]struct{}{}}
		w.unreadable[key] = seen
		unreadableObjects.WithLabelValues(u.Kind.Kind).Inc()
	}
	seen.UnreadableError = u
	seen.by[by] = struct{}{}
	if known {
		return
	}
	w.Log.Error(u.Err, "An object cannot be read: it grants and opens nothing until it is mended",
		"kind", u.Kind.Kind, "namespace", u.Name.Namespace, "name", u.Name.Name, "field", u.Field)
	if w.tell != nil {
		w.tell(u)
	}
}

func (w *Watches) lost(kind schema.GroupVersionKind, name types.NamespacedName, by *follower) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := objectKey{kind, name}
	seen := w.unreadable[key]
	if seen == nil {
		return
	}
	if delete(seen.by, by); len(seen.by) == 0 {
		delete(w.unreadable, key)
		unreadableObjects.WithLabelValues(kind.Kind).Dec()
	}
}

// note keeps when a follower began to fail; nil ends that.
func (w *Watches) note(f *follower, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	failure, was := w.failing[f]
	switch {
	case err == nil && was:
		delete(w.failing, f)
		failingWatches.WithLabelValues(f.kind.Kind).Dec()
	case err != nil:
		watchFailures.WithLabelValues(f.kind.Kind).Inc()
		if !was {
			failure = Failure{Kind: f.kind.Kind, Since: time.Now()}
			failingWatches.WithLabelValues(f.kind.Kind).Inc()
		}
		if failure.Err = err; w.failing == nil {
			w.failing = map[*follower]Failure{}
		}
		w.failing[f] = failure
	}
}
