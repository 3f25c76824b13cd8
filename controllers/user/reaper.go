package user

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

const (
	// reapGrace is how old a leftover must be. A request ends after 30 seconds.
	reapGrace = 10 * time.Minute
	// orphanGrace is the same for claims without a holder: a restore may put claims back before their holders. Such a claim
	// blocks no request.
	orphanGrace = 24 * time.Hour
)

// Reaper clears away what crashed requests left: Users that no claim names, and claims that no User wants. What it
// suspects by the informer it decides by live reads, under the rules of package claims. It runs on the leader.
type Reaper struct {
	// Client reads from informers.
	Client client.Client
	// Live reads and writes without informers.
	Live client.Client
	// Namespaces to sweep; empty for all.
	Namespaces []string
	// ClaimGone is told of the claim of a userName that is not there though its holder was found to have the name.
	ClaimGone func(namespace string, claim *v1alpha1.NameClaimSpec)
}

// NeedLeaderElection has one process sweep.
func (r *Reaper) NeedLeaderElection() bool { return true }

// Start sweeps until the context ends. It logs errors and returns nil.
func (r *Reaper) Start(ctx context.Context) error {
	claims.Rounds(ctx, log.FromContext(ctx).WithName("reaper"), func(ctx context.Context, withClaims bool) error {
		return r.sweep(ctx, reapGrace, orphanGrace, withClaims)
	})
	return nil
}

// Sweep looks at every User and claim once, and reaps what is older than grace. It returns the errors of the API server.
func (r *Reaper) Sweep(ctx context.Context, grace time.Duration) error {
	return r.sweep(ctx, grace, grace, true)
}

func (r *Reaper) sweep(ctx context.Context, grace, orphans time.Duration, withClaims bool) error {
	namespaces, err := r.namespaces(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, namespace := range namespaces {
		protocol := claims.ForUsers(r.Live, namespace)
		errs = append(errs, r.sweepUsers(ctx, protocol, namespace, grace))
		if !withClaims {
			continue
		}
		suspect := func(claim *v1alpha1.NameClaim) bool {
			return time.Since(claim.CreationTimestamp.Time) > orphans && !r.holds(ctx, claim)
		}
		present, err := claims.Sweep(ctx, r.Live, namespace, protocol, suspect)
		if err == nil {
			err = r.findMissing(ctx, namespace, present)
		}
		errs = append(errs, err)
		for _, attribute := range claims.AllOtherNames() {
			_, err := claims.Sweep(ctx, r.Live, namespace, claims.ForUsersBy(r.Live, namespace, attribute), suspect)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// findMissing tells of the claims of userNames that others deleted while no watch saw it. Claims of other names are read again by each process
// that begins to lead.
func (r *Reaper) findMissing(ctx context.Context, namespace string, present claims.Present) error {
	var list v1alpha1.UserList
	if err := r.Client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range list.Items {
		user := &list.Items[i]
		if user.IsNameReserved() && user.DeletionTimestamp.IsZero() && !present.Has(user.Spec.App, v1alpha1.ClaimUserName, user.Spec.UserNameKey) {
			r.ClaimGone(namespace, &v1alpha1.NameClaimSpec{
				App: user.Spec.App, Attribute: v1alpha1.ClaimUserName, Value: user.Spec.UserNameKey, Holder: user.Name,
			})
		}
	}
	return nil
}

// sweepUsers reaps Users that were never found to hold their name, or that have a rename pending.
func (r *Reaper) sweepUsers(ctx context.Context, protocol *claims.Protocol[*v1alpha1.User], namespace string, grace time.Duration) error {
	var list v1alpha1.UserList
	if err := r.Client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range list.Items {
		user := &list.Items[i]
		if user.IsNameReserved() && user.Spec.PendingKey == "" || time.Since(user.CreationTimestamp.Time) < grace {
			continue
		}
		reaped, err := protocol.Reap(ctx, user.Name, grace)
		if err != nil {
			return err
		}
		if reaped {
			log.FromContext(ctx).Info("Reaped what a crashed request left", "user", types.NamespacedName{Namespace: namespace, Name: user.Name})
		}
	}
	return nil
}

// holds says whether the informer shows the holder of a claim with the claimed key.
func (r *Reaper) holds(ctx context.Context, claim *v1alpha1.NameClaim) bool {
	user := &v1alpha1.User{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: claim.Namespace, Name: claim.Spec.Holder}, user, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return false
	}
	if claim.Spec.Attribute != v1alpha1.ClaimUserName {
		return err == nil && claims.KeyBy(claim.Spec.Attribute, &user.Spec) == claim.Spec.Value
	}
	return err == nil && (user.Spec.UserNameKey == claim.Spec.Value || user.Spec.PendingKey == claim.Spec.Value)
}

// namespaces returns the namespaces with an App, a directory each, and the namespaces with Users of an App that is gone.
func (r *Reaper) namespaces(ctx context.Context) ([]string, error) {
	var users v1alpha1.UserList
	if err := r.Client.List(ctx, &users, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	return claims.Namespaces(ctx, r.Client, r.Namespaces, &users)
}
