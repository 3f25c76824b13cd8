package claims

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// RestoredAge is the age from which on a User or Group without a claim may come from a backup: far older than any request
	// that is still between its two writes. One without createdAt was written by hand, and there is no request to wait for.
	RestoredAge = time.Minute
	// Patience is how long a claim may be missing before a status says so. The server writes the object first and the claim
	// right after it, so that every User and Group passes through this.
	Patience = time.Second
)

// Verify says, from one live read, whether the claim of a key names the holder, and so whether the holder is effective. version is
// the resourceVersion of a state of the holder in which the key is its own. Once true it stays true as long as the holder exists
// and keeps the key. Errors are the API server's.
func (p *Protocol[H]) Verify(ctx context.Context, app, key, holder, version string) (bool, error) {
	owner, err := p.adopt(ctx, app, key, holder, version)
	return err == nil && owner == holder, err
}

// OwnerFor is Owner of the key of a holder. Where that is the holder itself, it stays so as long as the holder exists and keeps
// the key. Errors are the API server's.
func (p *Protocol[H]) OwnerFor(ctx context.Context, holder H) (string, error) {
	names := p.kind.Names(holder)
	return p.adopt(ctx, names.App, *names.Key, holder.GetName(), holder.GetResourceVersion())
}

// OwnerOf is OwnerFor by the name of a holder, and one of its keys. Of a holder that is gone, or has another key by now, it tells what
// the claim names. Errors are the API server's.
func (p *Protocol[H]) OwnerOf(ctx context.Context, name, app, key string) (string, error) {
	holder, err := p.store.GetHolder(ctx, name)
	switch {
	case apierrors.IsNotFound(err):
		return p.Owner(ctx, app, key)
	case err != nil:
		return "", err
	case *p.kind.Names(holder).Key != key:
		return p.Owner(ctx, app, key)
	}
	return p.OwnerFor(ctx, holder)
}

// Owner returns the holder that the claim of a key names, from one live read, or "" where there is no claim. The holder may
// be gone, or hold another key by now: read it before relying on it. Errors are the API server's.
func (p *Protocol[H]) Owner(ctx context.Context, app, key string) (string, error) {
	claim, err := p.claimOf(ctx, app, key)
	if claim == nil {
		return "", err
	}
	return claim.Spec.Holder, nil
}

// claimOf reads the claim of a key; nil for none.
func (p *Protocol[H]) claimOf(ctx context.Context, app, key string) (*v1alpha1.NameClaim, error) {
	claim, err := p.store.GetClaim(ctx, Name(app, p.kind.Attribute, key))
	if err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return claim, nil
}

// adopt returns the holder that the claim of a key names. A claim that is older than that state of the holder is touched first: a
// backup may have put it back before the holder, and another process may have found the holder absent and be about to delete it. A
// claim that is newer needs none of that: each deletion of it was decided by a look at the holder later than that state.
func (p *Protocol[H]) adopt(ctx context.Context, app, key, holder, version string) (string, error) {
	for range attempts {
		claim, err := p.claimOf(ctx, app, key)
		if claim == nil {
			return "", err
		}
		if claim.Spec.Holder != holder || isLater(claim.ResourceVersion, version) {
			return claim.Spec.Holder, nil
		}
		err = p.touch(ctx, claim)
		if err == nil {
			return holder, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return "", err
		}
	}
	return "", ErrContended
}

// isLater compares resourceVersions. All custom resources of a cluster draw them from one counter.
func isLater(version, other string) bool {
	order, err := resourceversion.CompareResourceVersion(version, other)
	return err == nil && order > 0
}

// Ensure makes the claim of a holder's key where it is free and the holder must have it: verified before, restored from a
// backup, or written by hand. It says whether the claim names the holder now. It claims nothing for a holder that a Create
// may still be at work on, or left behind, nor for one with a name that another holder has. Errors are the API server's.
func (p *Protocol[H]) Ensure(ctx context.Context, name string) (bool, error) {
	holder, err := p.store.GetHolder(ctx, name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	owner, err := p.OwnerFor(ctx, holder)
	if err != nil || owner == name {
		return err == nil, err
	}
	if holder.GetDeletionTimestamp() != nil || !p.kind.Committed(holder) {
		return false, nil
	}
	return p.takeFree(ctx, holder)
}

// Claim makes the claim of a key that a holder has, where it is free, and says whether the claim names the holder now. The caller
// knows that the holder is effective. It fails with Conflict where the holder has another key, or is being deleted, by now.
func (p *Protocol[H]) Claim(ctx context.Context, name, key string) (bool, error) {
	holder, err := p.store.GetHolder(ctx, name)
	if err != nil {
		return false, err
	}
	names := p.kind.Names(holder)
	if *names.Key != key || holder.GetDeletionTimestamp() != nil {
		return false, conflict(name)
	}
	owner, err := p.OwnerFor(ctx, holder)
	if err != nil || owner == name {
		return err == nil, err
	}
	return p.takeFree(ctx, holder)
}

// takeFree takes the claim of the holder's key, and says whether it could.
func (p *Protocol[H]) takeFree(ctx context.Context, holder H) (bool, error) {
	names := p.kind.Names(holder)
	err := p.take(ctx, names.App, *names.Key, holder.GetName())
	if lost(err) {
		return false, nil
	}
	return err == nil, err
}
