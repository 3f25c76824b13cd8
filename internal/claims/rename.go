package claims

import (
	"context"
	"errors"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Rename gives a holder, just read live, another key. commit writes the caller's change into the object that it is
// given, the new key included, and is called again where the holder changed in between; change and key are written
// at once. Rename returns the holder as it was written.
//
// It fails with *TakenError, ErrReleasing or ErrContended, with commit's own error, or with Conflict where the holder
// is no longer the one that was read: read it and decide again. After any of these the old name is still held. After
// another error of the API server either name may be the one.
func (p *Protocol[H]) Rename(ctx context.Context, current H, key string, commit func(H) error) (H, error) {
	var none H
	if names := p.kind.Names(current); *names.Pending != key {
		*names.Pending = key
		*names.Unseen++
		if err := p.store.UpdateHolder(ctx, current); err != nil {
			return none, err
		}
	}
	for range attempts {
		names := p.kind.Names(current)
		old := *names.Key
		err := p.takeAndCommit(ctx, current, key, commit)
		if err == nil {
			p.forget(ctx, names.App, old, key)
			return current, nil
		}
		if !apierrors.IsConflict(err) || errors.Is(err, errOtherKey) {
			p.abandon(ctx, current.GetName(), key)
			return none, err
		}
		if current, err = p.store.GetHolder(ctx, current.GetName()); err != nil {
			return none, err
		}
		if *p.kind.Names(current).Pending != key || current.GetDeletionTimestamp() != nil {
			return none, conflict(current.GetName())
		}
	}
	p.abandon(ctx, current.GetName(), key)
	return none, ErrContended
}

// takeAndCommit takes the claim of the pending key and commits. The holder was read with the key pending, and is
// written only if it is unchanged since: all that time the key was wanted, so no deletion of the claim was decided.
func (p *Protocol[H]) takeAndCommit(ctx context.Context, current H, key string, commit func(H) error) error {
	names := p.kind.Names(current)
	if err := p.take(ctx, names.App, key, current.GetName()); err != nil {
		return err
	}
	if err := commit(current); err != nil {
		return err
	}
	names = p.kind.Names(current)
	if *names.Key != key {
		return errOtherKey
	}
	*names.Pending = ""
	return p.store.UpdateHolder(ctx, current)
}

// errOtherKey says that commit, called on a newer state of the holder, wants another key than it asked for. It is a
// Conflict, so the caller begins again.
var errOtherKey = conflict("another key")

func conflict(name string) error {
	return apierrors.NewConflict(v1alpha1.Resource("holders"), name, errors.New("it changed since it was read"))
}

// forget releases the old name after a rename. A failure blocks no request: the next one for the name applies the rule.
func (p *Protocol[H]) forget(ctx context.Context, app, old, key string) {
	if old == key {
		return
	}
	if err := p.releaseKey(ctx, app, old); err != nil {
		logr.FromContextOrDiscard(ctx).V(1).Info("Left the claim of an old name to be released later", "error", err.Error())
	}
}

// abandon takes a failed rename back. What fails here keeps the wanted name from others until the next rename of the
// same holder, or the reaper.
func (p *Protocol[H]) abandon(ctx context.Context, name, key string) {
	for range attempts {
		holder, err := p.store.GetHolder(ctx, name)
		if apierrors.IsNotFound(err) || err == nil && *p.kind.Names(holder).Pending != key {
			return
		}
		if err == nil {
			var done bool
			if done, err = p.abandonRead(ctx, holder); done {
				return
			}
		}
		if err != nil {
			logr.FromContextOrDiscard(ctx).V(1).Info("Left a pending rename to the reaper", "name", name, "error", err.Error())
			return
		}
	}
}
