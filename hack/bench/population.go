package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// fillConcurrency of the creates that fill the App.
	fillConcurrency = 8
	// stallTimeout ends the wait for grants after so long without one.
	stallTimeout = 60 * time.Second
)

// population is the users of the App.
type population struct {
	members []member
	left    int // how many of them were deactivated
}

type member struct {
	person
	id   string
	left bool
}

// mixture is how the population is spread over the sample's roles and scopes: one in six has each combination.
var mixture = struct{ roles, regions []string }{
	roles:   []string{"viewer", "developer"},
	regions: []string{"us1", "emea2", ""}, // no value means both
}

// kinds of people are in the mixture.
func kinds() int { return len(mixture.roles) * len(mixture.regions) }

// newPeople makes persons of the mixture.
func (s *suite) newPeople(n int) []person {
	newcomers := s.people.take(n)
	for i := range newcomers {
		newcomers[i].role = mixture.roles[i%len(mixture.roles)]
		newcomers[i].regions = mixture.regions[i/len(mixture.roles)%len(mixture.regions)]
	}
	return newcomers
}

// grow creates users through SCIM until the App holds size, and waits until every active one has got their roles. The
// time for both is a figure of its own.
func (s *suite) grow(ctx context.Context, e *environment, pop *population, size int) error {
	newcomers := s.newPeople(size - len(pop.members))
	bodies := make([][]byte, len(newcomers))
	for i, p := range newcomers {
		var err error
		if bodies[i], err = p.body(); err != nil {
			return err
		}
	}
	watched, err := watchGrants(ctx, e)
	if err != nil {
		return err
	}
	defer watched.stop()

	s.progress.say("creating %d users, %d in all", len(newcomers), size)
	joined := make([]member, len(newcomers))
	begun := time.Now()
	created := drive(ctx, len(newcomers), fillConcurrency, func(ctx context.Context, i int) error {
		id, err := e.scim.create(ctx, bodies[i])
		joined[i] = member{person: newcomers[i], id: id}
		s.progress.sayOften("created %d of %d users, %d in all have their roles", i+1, len(newcomers), watched.count())
		return err
	})
	if created.first != nil {
		return created.first
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	pop.members = append(pop.members, joined...)
	if err := watched.wait(ctx, s.progress, size-pop.left); err != nil {
		return err
	}
	if name := benchmarkGrant(size); s.wants(name) {
		elapsed := time.Since(begun)
		s.report.add(figure{
			name: name, title: fmt.Sprintf("first POST to last grant, App grows to %d", size),
			n: len(newcomers), concurrency: fillConcurrency, value: float64(len(newcomers)) / elapsed.Seconds(), unit: perSecond,
		})
	}
	return nil
}

// grants counts by a watch the users that hold roles.
type grants struct {
	stop context.CancelFunc

	mu      sync.Mutex
	granted map[string]bool
	changed chan struct{} // holds one notice at most
}

// watchGrants returns once it knows all Users; stop ends the watch.
func watchGrants(ctx context.Context, e *environment) (*grants, error) {
	ctx, cancel := context.WithCancel(ctx)
	g := &grants{stop: cancel, granted: map[string]bool{}, changed: make(chan struct{}, 1)}
	informers, err := cache.New(e.config, cache.Options{
		Scheme:            e.scheme,
		DefaultNamespaces: map[string]cache.Config{e.app.Namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
	})
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		// It fails only where the informer below does not sync either.
		_ = informers.Start(ctx)
	}()
	informer, err := informers.GetInformer(ctx, &v1alpha1.User{})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watching Users: %w", err)
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    g.see,
		UpdateFunc: func(_, after any) { g.see(after) },
	})
	if err == nil && !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watching Users: %w", err)
	}
	return g, nil
}

func (g *grants) see(object any) {
	user, ok := object.(*v1alpha1.User)
	if !ok {
		return
	}
	has := user.Spec.Active && len(user.Status.Roles) > 0 && user.Status.ObservedGeneration == user.Generation &&
		meta.IsStatusConditionTrue(user.Status.Conditions, v1alpha1.ConditionReady)
	g.mu.Lock()
	defer g.mu.Unlock()
	if has == g.granted[user.Name] {
		return
	}
	if has {
		g.granted[user.Name] = true
	} else {
		delete(g.granted, user.Name)
	}
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

func (g *grants) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.granted)
}

// wait returns when so many hold roles.
func (g *grants) wait(ctx context.Context, progress *progress, wanted int) error {
	progress.say("waiting for the grants: %d of %d users have their roles", g.count(), wanted)
	for g.count() < wanted {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(stallTimeout):
			return fmt.Errorf("no user was granted a role for %s: %d of %d have theirs", stallTimeout, g.count(), wanted)
		case <-g.changed:
		}
		progress.sayOften("waiting for the grants: %d of %d users have their roles", g.count(), wanted)
	}
	return nil
}
