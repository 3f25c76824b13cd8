package informers

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/scim-operator/scim-operator/internal/ownstatus"
)

// follower lists and watches for one informer. Once a list or an event could not be decoded, its answers are filtered: each object
// is tried on its own, and those that cannot be decoded are left out.
type follower struct {
	watches *Watches
	from    toolscache.ListerWatcherWithContext
	kind    schema.GroupVersionKind
	of      reflect.Type

	filters atomic.Bool

	mu      sync.Mutex
	skipped map[types.NamespacedName]struct{}

	lag lag
}

// List implements toolscache.ListerWatcher. Errors are those of ListWithContext.
func (f *follower) List(options metav1.ListOptions) (runtime.Object, error) {
	return f.ListWithContext(context.Background(), options)
}

// Watch implements toolscache.ListerWatcher. Errors are those of WatchWithContext.
func (f *follower) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return f.WatchWithContext(context.Background(), options)
}

// ListWithContext lists, and once more where the answer could not be decoded. It returns the error of the last attempt.
func (f *follower) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	ctx = following(ctx, f)
	list, err := f.from.ListWithContext(ctx, options)
	if err != nil && isUndecodable(err) && f.filters.CompareAndSwap(false, true) {
		list, err = f.from.ListWithContext(ctx, options)
	}
	f.note(ctx, err)
	ownstatus.Drop(list)
	return list, err
}

// WatchWithContext watches. An event that could not be decoded ends the watch as if it were too old: the informer lists
// again. Errors are those of beginning the watch.
func (f *follower) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	x := &exchange{follower: f, takes: decodesItself(f.of)}
	from, err := f.from.WatchWithContext(exchanging(ctx, x), options)
	if err != nil {
		if x.events != nil {
			_ = x.events.Close() // nothing was written
		}
		f.note(ctx, err)
		return nil, err
	}
	if asked := from; x.events != nil {
		from = watch.NewStreamWatcherWithLogger(klog.FromContext(ctx), newDecoder(f.of, x.events, func() {
			_ = x.events.Close() // nothing was written
			asked.Stop()
		}), apierrors.NewClientErrorReporter(http.StatusInternalServerError, http.MethodGet, "ClientWatchDecoding"))
	}
	if options.SendInitialEvents == nil || !*options.SendInitialEvents {
		f.note(ctx, nil)
	}
	w := &followed{from: from, result: make(chan watch.Event), done: make(chan struct{})}
	go w.forward(func(event watch.Event) watch.Event { return f.event(ctx, event) })
	return w, nil
}

// event notes what an event tells of the watch, and turns the failure to decode one into the demand to list again.
func (f *follower) event(ctx context.Context, event watch.Event) watch.Event {
	switch event.Type {
	case watch.Bookmark:
		if object, err := meta.Accessor(event.Object); err == nil && object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
			f.note(ctx, nil)
		}
	case watch.Error:
		err := apierrors.FromObject(event.Object)
		if strings.Contains(err.Error(), "unable to decode an event") && f.filters.CompareAndSwap(false, true) {
			expired := apierrors.NewResourceExpired(unreadableMessage).Status()
			event.Object = &expired
		} else if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			f.note(ctx, err)
		}
	case watch.Added, watch.Modified, watch.Deleted:
		ownstatus.Drop(event.Object)
	}
	return event
}

// note keeps when this began to fail, and why; nil ends that.
func (f *follower) note(ctx context.Context, err error) {
	f.watches.note(f, f.lag.explain(ctx, f.from, err))
}

// isUndecodable reports whether a list failed here, and not on its way or at the API server.
func isUndecodable(err error) bool {
	var status apierrors.APIStatus
	var onItsWay *url.Error
	var network net.Error
	return !errors.As(err, &status) && !errors.As(err, &onItsWay) && !errors.As(err, &network) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, http.ErrHandlerTimeout)
}

// reads returns an object as it can be decoded: as it is as a rule. ok is false where it is to be left out.
func (f *follower) reads(object []byte) (as []byte, ok bool) {
	path, err := decodes(f.of, object)
	var named identity
	if json.Unmarshal(object, &named) != nil {
		return object, true // nothing tells which object it is: the decoder may complain
	}
	name := named.name()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		delete(f.skipped, name)
		f.watches.lost(f.kind, name, f)
		return object, true
	}
	unreadable := UnreadableError{
		Kind: f.kind, Name: name, UID: named.Metadata.UID, ResourceVersion: named.Metadata.ResourceVersion, Field: strings.Join(path, "."), Err: err,
	}
	f.watches.saw(unreadable, f)
	if annotation := f.watches.Salvage[f.kind.Kind]; annotation != "" {
		if salvaged, ok := salvage(f.of, object, annotation, unreadable.Error()); ok {
			delete(f.skipped, name)
			return salvaged, true
		}
	}
	f.skipped[name] = struct{}{}
	return nil, false
}

// skips reports whether the object's name is one that the informer does not know because it could not be decoded.
func (f *follower) skips(object []byte) bool {
	var named identity
	if json.Unmarshal(object, &named) != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, skipped := f.skipped[named.name()]
	return skipped
}

// gone forgets an object that was skipped and is deleted.
func (f *follower) gone(object []byte) {
	var named identity
	if json.Unmarshal(object, &named) != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.skipped, named.name())
	f.watches.lost(f.kind, named.name(), f)
}

// forget begins anew, before a list.
func (f *follower) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.skipped {
		f.watches.lost(f.kind, name, f)
	}
	clear(f.skipped)
}

// followed is a watch that passes its events through a function.
type followed struct {
	from   watch.Interface
	result chan watch.Event
	stop   sync.Once
	done   chan struct{}
}

func (w *followed) forward(change func(watch.Event) watch.Event) {
	defer close(w.result)
	for event := range w.from.ResultChan() {
		select {
		case w.result <- change(event):
		case <-w.done:
			return
		}
	}
}

// Stop implements watch.Interface.
func (w *followed) Stop() {
	w.stop.Do(func() {
		close(w.done)
		w.from.Stop()
	})
}

// ResultChan implements watch.Interface.
func (w *followed) ResultChan() <-chan watch.Event { return w.result }
