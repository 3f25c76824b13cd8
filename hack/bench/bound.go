package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// bound counts by a watch the names that RoleBindings name: what the API server's authorizer decides by, whatever a status tells of it.
type bound struct {
	stop context.CancelFunc

	mu      sync.Mutex
	names   map[string]bool
	before  int           // names that stood when the watch began
	changed chan struct{} // holds one notice at most
}

// watchBound returns once it knows all RoleBindings; stop ends the watch.
func watchBound(ctx context.Context, e *environment) (*bound, error) {
	ctx, cancel := context.WithCancel(ctx)
	b := &bound{stop: cancel, names: map[string]bool{}, changed: make(chan struct{}, 1)}
	informers, err := cache.New(e.config, cache.Options{Scheme: e.scheme, DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		// It fails only where the informer below does not sync either.
		_ = informers.Start(ctx)
	}()
	informer, err := informers.GetInformer(ctx, &rbacv1.RoleBinding{})
	if err == nil {
		var registration toolscache.ResourceEventHandlerRegistration
		registration, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    b.see,
			UpdateFunc: func(_, after any) { b.see(after) },
		})
		if err == nil && !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
			err = ctx.Err()
		}
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watching RoleBindings: %w", err)
	}
	b.before = b.count()
	return b, nil
}

func (b *bound) see(object any) {
	binding, ok := object.(*rbacv1.RoleBinding)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, subject := range binding.Subjects {
		b.names[subject.Kind+"/"+subject.Namespace+"/"+subject.Name] = true
	}
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

func (b *bound) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.names) - b.before
}

// wait returns when so many names more than at first are bound.
func (b *bound) wait(ctx context.Context, wanted int) error {
	for b.count() < wanted {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(stallTimeout):
			return fmt.Errorf("no RoleBinding changed for %s: %d of %d users are bound", stallTimeout, b.count(), wanted)
		case <-b.changed:
		}
	}
	return nil
}
