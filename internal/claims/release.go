package claims

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// holding is what the deletion rule found.
type holding int

const (
	released    holding = iota // the claim is gone
	held                       // its holder has the key
	terminating                // its holder has the key and is being deleted
)

// Delete deletes a holder as it was read. Errors are Conflict where it changed since, and the API server's. Release lets the
// holder's claims go, once its finalizers let the object go.
func (p *Protocol[H]) Delete(ctx context.Context, holder H) error {
	return p.store.DeleteHolder(ctx, holder)
}

// Release releases the claims of a holder's keys, by the rule: a claim that this or another holder still holds stays. A
// claim that is not released, because of a crash or an error, blocks no request: the next one for the name applies the rule.
// Errors are the API server's.
func (p *Protocol[H]) Release(ctx context.Context, holder H) error {
	names := p.kind.Names(holder)
	for _, key := range []string{*names.Key, *names.Pending} {
		if err := p.releaseKey(ctx, names.App, key); err != nil {
			return err
		}
	}
	return nil
}

// ReleaseStale applies the rule to one claim, read live by the caller. It says whether the claim was deleted; a claim that
// changed or is gone is no error. Errors are the API server's.
func (p *Protocol[H]) ReleaseStale(ctx context.Context, claim *v1alpha1.NameClaim) (bool, error) {
	state, err := p.releaseRead(ctx, claim)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && state == released, err
}

func (p *Protocol[H]) releaseKey(ctx context.Context, app, key string) error {
	if key == "" {
		return nil
	}
	claim, err := p.store.GetClaim(ctx, Name(app, p.kind.Attribute, key))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = p.ReleaseStale(ctx, claim)
	return err
}

// releaseRead is the one rule by which claims are deleted. The claim has been read; only then the holder is, live; and the
// claim's resourceVersion is the precondition. So a request that wants the name for that holder after the holder was read
// here, and adopts or recreates the claim, wins. NotFound and Conflict say that another process was faster.
func (p *Protocol[H]) releaseRead(ctx context.Context, claim *v1alpha1.NameClaim) (holding, error) {
	holder, err := p.store.GetHolder(ctx, claim.Spec.Holder)
	if err != nil && !apierrors.IsNotFound(err) {
		return held, err
	}
	if err == nil && p.wants(holder, claim.Name) {
		if holder.GetDeletionTimestamp() != nil {
			return terminating, nil
		}
		return held, nil
	}
	return released, p.store.DeleteClaim(ctx, claim)
}

// wants says whether either key of the holder is the one that the claim reserves. The claim's name decides, because it is a
// hash and cannot be chosen, not the value written in it.
func (p *Protocol[H]) wants(holder H, claim string) bool {
	names := p.kind.Names(holder)
	return Name(names.App, p.kind.Attribute, *names.Key) == claim ||
		*names.Pending != "" && Name(names.App, p.kind.Attribute, *names.Pending) == claim
}

// Reap clears away what a crashed request left of one holder, and says whether it changed anything. It removes the holder
// itself, if no claim names it, it was never effective and it is older than grace, which must be longer than any request
// lasts; or its pending key. A holder that its claim names is never reaped. Errors are the API server's.
func (p *Protocol[H]) Reap(ctx context.Context, name string, grace time.Duration) (bool, error) {
	holder, err := p.store.GetHolder(ctx, name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil || holder.GetDeletionTimestamp() != nil || time.Since(holder.GetCreationTimestamp().Time) < grace {
		return false, err
	}
	names := p.kind.Names(holder)
	if *names.Pending != "" {
		return p.abandonRead(ctx, holder)
	}
	owner, err := p.Owner(ctx, names.App, *names.Key)
	if err != nil || owner == name || p.kind.Committed(holder) {
		return false, err
	}
	err = p.discardRead(ctx, holder)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// abandonRead gives up the rename that is written in a holder, as it was read. A rename that was still under way
// finds a conflict when it commits, and begins again.
func (p *Protocol[H]) abandonRead(ctx context.Context, holder H) (bool, error) {
	names := p.kind.Names(holder)
	pending := *names.Pending
	*names.Pending = ""
	*names.Unseen++
	err := p.store.UpdateHolder(ctx, holder)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, p.releaseKey(ctx, names.App, pending)
}
