package claims

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// ForUsers returns the protocol for the Users of one namespace. The client must not read from a cache.
func ForUsers(live client.Client, namespace string) *Protocol[*v1alpha1.User] {
	return New(NewStore(live, namespace, func() *v1alpha1.User { return &v1alpha1.User{} }), Users)
}

// ForOtherNames returns the protocols for those of OtherNames that an App has unique among its users.
func ForOtherNames(live client.Client, app *v1alpha1.App) []*Protocol[*v1alpha1.User] {
	var protocols []*Protocol[*v1alpha1.User]
	for _, attribute := range OtherNames(app) {
		protocols = append(protocols, ForUsersBy(live, app.Namespace, attribute))
	}
	return protocols
}

// ForUsersBy returns the protocol for one of OtherNames of the Users of one namespace. The client must not read from a cache.
func ForUsersBy(live client.Client, namespace, attribute string) *Protocol[*v1alpha1.User] {
	return New(NewStore(live, namespace, func() *v1alpha1.User { return &v1alpha1.User{} }), UsersBy(attribute))
}

// NewStore returns the API server's objects of one namespace as a Store. The client must not read from a cache.
func NewStore[H client.Object](live client.Client, namespace string, newHolder func() H) Store[H] {
	return &apiServer[H]{client: live, namespace: namespace, newHolder: newHolder}
}

type apiServer[H client.Object] struct {
	client    client.Client
	namespace string
	newHolder func() H
}

func (s *apiServer[H]) GetHolder(ctx context.Context, name string) (H, error) {
	holder := s.newHolder()
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, holder)
	return holder, err
}

func (s *apiServer[H]) CreateHolder(ctx context.Context, holder H) error {
	holder.SetNamespace(s.namespace)
	return s.client.Create(ctx, holder)
}

func (s *apiServer[H]) UpdateHolder(ctx context.Context, holder H) error {
	return s.client.Update(ctx, holder)
}

func (s *apiServer[H]) DeleteHolder(ctx context.Context, holder H) error {
	return s.client.Delete(ctx, holder, unchanged(holder))
}

func (s *apiServer[H]) GetClaim(ctx context.Context, name string) (*v1alpha1.NameClaim, error) {
	claim := &v1alpha1.NameClaim{}
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, claim)
	return claim, err
}

func (s *apiServer[H]) CreateClaim(ctx context.Context, claim *v1alpha1.NameClaim) error {
	claim.Namespace = s.namespace
	return s.client.Create(ctx, claim)
}

func (s *apiServer[H]) UpdateClaim(ctx context.Context, claim *v1alpha1.NameClaim) error {
	return s.client.Update(ctx, claim)
}

func (s *apiServer[H]) DeleteClaim(ctx context.Context, claim *v1alpha1.NameClaim) error {
	return s.client.Delete(ctx, claim, unchanged(claim))
}

// unchanged is the precondition that an object still is the one that was read.
func unchanged(object client.Object) client.Preconditions {
	uid, version := object.GetUID(), object.GetResourceVersion()
	return client.Preconditions{UID: &uid, ResourceVersion: &version}
}

const (
	// sweepPage bounds one answer of the API server while claims are swept.
	sweepPage = 500
	// roundInterval is the time between the rounds of a reaper.
	roundInterval = 5 * time.Minute
	// sweepFirst is the round of a reaper that sweeps claims for the first time, sweepEvery how many rounds pass until it
	// does so again.
	sweepFirst, sweepEvery = 2, 12
)

// Rounds calls a reaper's sweep every five minutes until ctx ends, and logs what fails. Claims are swept in one round of
// each hour: reading them all costs the API server much, and a claim without a holder blocks no request: the next request
// for the name takes it over.
func Rounds(ctx context.Context, log logr.Logger, sweep func(ctx context.Context, withClaims bool) error) {
	round := 0
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		if err := sweep(ctx, round%sweepEvery == sweepFirst); err != nil && ctx.Err() == nil {
			log.Error(err, "Failed to sweep")
		}
		round++
	}, roundInterval, 0.2, true)
}

// Sweep releases, by the rule, claims of a namespace that the protocol's kind no longer holds, and returns all that it saw.
// suspect, which may know holders from a cache, chooses what is worth two live reads; it decides nothing else. It stops at
// the first error of the API server.
func Sweep[H Holder](ctx context.Context, live client.Reader, namespace string, p *Protocol[H], suspect func(*v1alpha1.NameClaim) bool) (Present, error) {
	present := newPresent()
	for next := ""; ; {
		page := &v1alpha1.NameClaimList{}
		if err := live.List(ctx, page, client.InNamespace(namespace),
			client.MatchingFields{"spec.attribute": p.kind.Attribute}, client.Limit(sweepPage), client.Continue(next)); err != nil {
			return present, err
		}
		for i := range page.Items {
			claim := &page.Items[i]
			present.add(claim.Name)
			if !suspect(claim) {
				continue
			}
			if _, err := p.ReleaseStale(ctx, claim); err != nil {
				return present, err
			}
		}
		if next = page.Continue; next == "" {
			return present, nil
		}
	}
}

// Present is the set of claims that a sweep has seen in one namespace, by hashes of their names, which are a tenth as large. Two names of one hash
// are no danger: a claim that is gone is looked for again in an hour, under another seed.
type Present struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

func newPresent() Present { return Present{seed: maphash.MakeSeed(), hashes: map[uint64]struct{}{}} }

func (p Present) add(name string) { p.hashes[maphash.String(p.seed, name)] = struct{}{} }

// Has says whether the claim of a key was there. A claim that was made during the sweep may not be among them.
func (p Present) Has(app, attribute, key string) bool {
	_, found := p.hashes[maphash.String(p.seed, Name(app, attribute, key))]
	return found
}

// Namespaces returns the namespaces with claims to sweep: the served ones, or, if none are named, the namespaces with an App
// or with an object of left, which remains of an App that is gone. Errors are those of cached.
func Namespaces(ctx context.Context, cached client.Reader, served []string, left ...client.ObjectList) ([]string, error) {
	if len(served) > 0 {
		return served, nil
	}
	var apps v1alpha1.AppList
	if err := cached.List(ctx, &apps, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, list := range append(left, &apps) {
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			object, err := meta.Accessor(item)
			if err == nil {
				found[object.GetNamespace()] = true
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}
