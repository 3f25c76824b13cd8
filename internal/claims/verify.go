package claims

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// RestoredAge is the age from which on a User or Group without a claim may come from a backup: far older than any request
	// that is still between its two writes. One without createdAt was written by hand, and there is no request to wait for.
	RestoredAge = time.Minute
	// Patience is how long a claim may be missing before a status says so. The server writes the object first and the claim
	// right after it, so that every User and Group passes through this.
	Patience = time.Second
)

// Verify says, from one live read, whether the claim of a key names the holder, and so whether the holder is effective. The
// key must be the holder's. Once true it stays true as long as the holder exists and keeps the key. Errors are the API
// server's.
func (p *Protocol[H]) Verify(ctx context.Context, app, attribute, key, holder string) (bool, error) {
	owner, err := p.owner(ctx, app, attribute, key)
	return err == nil && owner == holder, err
}

// Owner returns the holder that the claim of a key names, from one live read, or "" where there is no claim. The holder may
// be gone, or hold another key by now: read it before relying on it. Errors are the API server's.
func (p *Protocol[H]) Owner(ctx context.Context, app, key string) (string, error) {
	return p.owner(ctx, app, p.kind.Attribute, key)
}

func (p *Protocol[H]) owner(ctx context.Context, app, attribute, key string) (string, error) {
	claim, err := p.store.GetClaim(ctx, Name(app, attribute, key))
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return claim.Spec.Holder, nil
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
	names := p.kind.Names(holder)
	owner, err := p.owner(ctx, names.App, p.kind.Attribute, *names.Key)
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
	owner, err := p.owner(ctx, names.App, p.kind.Attribute, key)
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
