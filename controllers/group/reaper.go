package group

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// Reaper clears away what crashed requests left: Groups that no claim names, claims that no Group wants, and shards that
// no Group reads. What it suspects by the informer it decides by live reads. It runs on the leader.
type Reaper struct {
	// Reconciler lends its clients, and looks at members that the informer does not show as users.
	Reconciler *Reconciler
	// Namespaces to sweep; empty for all.
	Namespaces []string
}

// NeedLeaderElection has one process sweep.
func (r *Reaper) NeedLeaderElection() bool { return true }

// Start sweeps until the context ends. It logs errors and returns nil.
func (r *Reaper) Start(ctx context.Context) error {
	claims.Rounds(ctx, log.FromContext(ctx).WithName("group-reaper"), func(ctx context.Context, withClaims bool) error {
		return r.sweep(ctx, membership.SweepGrace, absentFor, withClaims)
	})
	return nil
}

// Sweep looks at every Group, shard and claim once, and removes what is older than grace and of no use. It returns the
// errors of the API server.
func (r *Reaper) Sweep(ctx context.Context, grace time.Duration) error {
	return r.sweep(ctx, grace, grace, true)
}

// sweep leaves what has no Group alone for longer, orphans: the Group may follow from a backup.
func (r *Reaper) sweep(ctx context.Context, grace, orphans time.Duration, withClaims bool) error {
	var groups v1alpha1.GroupList
	var shards v1alpha1.MemberShardList
	err := errors.Join(
		r.Reconciler.Client.List(ctx, &groups, client.UnsafeDisableDeepCopy),
		r.Reconciler.Client.List(ctx, &shards, client.UnsafeDisableDeepCopy),
	)
	if err != nil {
		return err
	}
	if len(r.Namespaces) > 0 {
		groups.Items = slices.DeleteFunc(groups.Items, func(group v1alpha1.Group) bool { return !slices.Contains(r.Namespaces, group.Namespace) })
		shards.Items = slices.DeleteFunc(shards.Items, func(shard v1alpha1.MemberShard) bool { return !slices.Contains(r.Namespaces, shard.Namespace) })
	}
	namespaces, err := claims.Namespaces(ctx, r.Reconciler.Client, r.Namespaces, &groups, &shards)
	if err != nil {
		return err
	}
	errs := []error{r.sweepGroups(ctx, groups.Items, grace), r.sweepShards(ctx, shards.Items, grace, orphans)}
	if !withClaims {
		return errors.Join(errs...)
	}
	for _, namespace := range namespaces {
		present, err := claims.Sweep(ctx, r.Reconciler.Live, namespace, r.Reconciler.claimsOf(namespace), func(claim *v1alpha1.NameClaim) bool {
			return time.Since(claim.CreationTimestamp.Time) > orphans && !r.holds(ctx, claim)
		})
		if err == nil {
			r.claimMissing(ctx, namespace, groups.Items, present)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// claimMissing makes the claims of displayNames anew that others deleted while no watch saw it.
func (r *Reaper) claimMissing(ctx context.Context, namespace string, groups []v1alpha1.Group, present claims.Present) {
	for i := range groups {
		group := &groups[i]
		if group.Namespace == namespace && group.IsNameReserved() && !present.Has(group.Spec.App, v1alpha1.ClaimDisplayName, group.Spec.DisplayNameKey) {
			r.Reconciler.ClaimGone(ctx, namespace, &v1alpha1.NameClaimSpec{
				App: group.Spec.App, Attribute: v1alpha1.ClaimDisplayName, Value: group.Spec.DisplayNameKey, Holder: group.Name,
			})
		}
	}
}

// sweepGroups reaps Groups without a verified name, or with a pending rename. It also has members looked at that the
// informer does not show as users: their deletion may have been missed.
func (r *Reaper) sweepGroups(ctx context.Context, groups []v1alpha1.Group, grace time.Duration) error {
	for i := range groups {
		group := &groups[i]
		r.suspectStrangers(ctx, group)
		if group.IsNameReserved() && group.Spec.PendingKey == "" || time.Since(group.CreationTimestamp.Time) < grace {
			continue
		}
		reaped, err := r.Reconciler.claimsOf(group.Namespace).Reap(ctx, group.Name, grace)
		if err != nil {
			return err
		}
		if reaped {
			log.FromContext(ctx).Info("Reaped what a crashed request left", "group", client.ObjectKeyFromObject(group))
		}
	}
	return nil
}

func (r *Reaper) suspectStrangers(ctx context.Context, group *v1alpha1.Group) {
	name := client.ObjectKeyFromObject(group)
	q := r.Reconciler.queue.Load()
	if q == nil {
		return // nothing reconciles in this process
	}
	var strangers []string
	for _, id := range r.Reconciler.Memberships.index.Members(name) {
		if !r.Reconciler.knows(ctx, group, id) {
			strangers = append(strangers, id)
		}
	}
	if len(strangers) > 0 {
		r.Reconciler.suspects.add(name, strangers...)
		(*q).Add(reconcile.Request{NamespacedName: name})
	}
}

// sweepShards removes shards of a Group that is gone, or that names another epoch.
func (r *Reaper) sweepShards(ctx context.Context, shards []v1alpha1.MemberShard, grace, orphans time.Duration) error {
	count := 0
	for i := range shards {
		shard := &shards[i]
		age := time.Since(shard.CreationTimestamp.Time)
		if age < grace || r.reads(ctx, shard) || age < orphans && !r.hasGroup(ctx, shard) {
			continue
		}
		swept, err := r.Reconciler.membersOf(shard.Namespace).Sweep(ctx, shard, grace)
		if err != nil {
			return err
		}
		if swept {
			count++
		}
	}
	if count > 0 {
		log.FromContext(ctx).Info("Removed shards that no group reads", "count", count)
	}
	return nil
}

// reads says whether the informer shows the Group of a shard with the shard's epoch.
func (r *Reaper) reads(ctx context.Context, shard *v1alpha1.MemberShard) bool {
	group := &v1alpha1.Group{}
	name := types.NamespacedName{Namespace: shard.Namespace, Name: shard.Spec.Group}
	err := r.Reconciler.Client.Get(ctx, name, group, client.UnsafeDisableDeepCopy)
	return err == nil && group.Spec.Sharding != nil && group.Spec.Sharding.Epoch == shard.Spec.Epoch
}

// hasGroup says whether the informer shows the Group of a shard.
func (r *Reaper) hasGroup(ctx context.Context, shard *v1alpha1.MemberShard) bool {
	name := types.NamespacedName{Namespace: shard.Namespace, Name: shard.Spec.Group}
	return r.Reconciler.Client.Get(ctx, name, &v1alpha1.Group{}, client.UnsafeDisableDeepCopy) == nil
}

// holds says whether the informer shows the holder of a claim with the claimed key.
func (r *Reaper) holds(ctx context.Context, claim *v1alpha1.NameClaim) bool {
	group := &v1alpha1.Group{}
	err := r.Reconciler.Client.Get(ctx, client.ObjectKey{Namespace: claim.Namespace, Name: claim.Spec.Holder}, group, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return false
	}
	return err == nil && (group.Spec.DisplayNameKey == claim.Spec.Value || group.Spec.PendingKey == claim.Spec.Value)
}
