package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// holders counts by a watch the users of one App that hold every role in their status. It keeps no Users in memory: with a
// hundred thousand of them this process would take the machine that it measures.
type holders struct {
	stop context.CancelFunc
	app  string

	mu      sync.Mutex
	role    string // that counts; "" for any
	held    map[string]bool
	changed chan struct{} // holds one notice at most
}

// watchHolders returns once it knows all Users; stop ends the watch.
func watchHolders(ctx context.Context, e *environment) (*holders, error) {
	ctx, cancel := context.WithCancel(ctx)
	h := &holders{stop: cancel, app: e.app.Name, held: map[string]bool{}, changed: make(chan struct{}, 1)}
	informers, err := cache.New(e.config, cache.Options{
		Scheme:            e.scheme,
		DefaultNamespaces: map[string]cache.Config{e.app.Namespace: {}},
		DefaultTransform: func(object any) (any, error) {
			user, ok := object.(*v1alpha1.User)
			if !ok {
				return object, nil
			}
			h.see(user)
			small := &v1alpha1.User{}
			small.Namespace, small.Name, small.ResourceVersion = user.Namespace, user.Name, user.ResourceVersion
			return small, nil
		},
	})
	if err == nil {
		go func() {
			// It fails only where the informer below does not sync either.
			_ = informers.Start(ctx)
		}()
		_, err = informers.GetInformer(ctx, &v1alpha1.User{})
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watching Users: %w", err)
	}
	return h, nil
}

func (h *holders) see(user *v1alpha1.User) {
	if user.Spec.App != h.app {
		return
	}
	granted := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessGranted)
	bound := user.Spec.Active && len(user.Status.Roles) > 0 && granted != nil && granted.Reason == v1alpha1.ReasonGranted &&
		user.Status.ObservedGeneration == user.Generation
	h.mu.Lock()
	defer h.mu.Unlock()
	bound = bound && (h.role == "" || slices.ContainsFunc(user.Status.Roles, func(r v1alpha1.EarnedRole) bool { return r.Role == h.role }))
	if bound == h.held[user.Name] {
		return
	}
	if bound {
		h.held[user.Name] = true
	} else {
		delete(h.held, user.Name)
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// require counts from now on the users with a role that no user holds yet.
func (h *holders) require(role string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.role = role
	clear(h.held)
}

func (h *holders) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// wait returns when so many hold roles.
func (h *holders) wait(ctx context.Context, progress *progress, wanted int) error {
	for h.count() < wanted {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(stallTimeout):
			return fmt.Errorf("no user was granted a role for %s: %d of %d have theirs", stallTimeout, h.count(), wanted)
		case <-h.changed:
		}
		progress.sayOften("waiting for the grants: %d of %d users have their roles", h.count(), wanted)
	}
	return nil
}
