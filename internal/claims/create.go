package claims

import (
	"context"
	"slices"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Create writes a holder with its key set, and claims the key: two writes where no other holder wants the name. The holder
// is effective when Create returns nil. others claim further names of the same holder first: a holder that loses one of them
// never becomes effective.
//
// It fails with *TakenError, ErrReleasing or ErrContended, and the holder is gone again; or with an error of the API server,
// and then the holder may be there, and even effective, as after any request with a lost answer.
func (p *Protocol[H]) Create(ctx context.Context, holder H, others ...*Protocol[H]) error {
	if err := p.store.CreateHolder(ctx, holder); err != nil {
		return err
	}
	var err error
	for _, claimed := range append(slices.Clip(others), p) {
		names := claimed.kind.Names(holder)
		if *names.Key == "" {
			continue
		}
		if err = claimed.take(ctx, names.App, *names.Key, holder.GetName()); err != nil {
			break
		}
	}
	if !lost(err) {
		return err
	}
	if discardErr := p.discard(ctx, holder); discardErr != nil {
		// Invisible without its claim, and reaped later.
		logr.FromContextOrDiscard(ctx).V(1).Info("Left an object without a claim to the reaper",
			"name", holder.GetName(), "error", discardErr.Error())
	}
	return err
}

// take makes the claim of a key name the holder. The holder must have the key, committed or pending, in the API
// server before take is called, and until whatever relies on the claim is written.
func (p *Protocol[H]) take(ctx context.Context, app, key, holder string) error {
	name := Name(app, p.kind.Attribute, key)
	for range attempts {
		err := p.store.CreateClaim(ctx, &v1alpha1.NameClaim{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelApp: app}},
			Spec:       v1alpha1.NameClaimSpec{App: app, Attribute: p.kind.Attribute, Value: key, Holder: holder},
		})
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		claim, err := p.store.GetClaim(ctx, name)
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return err
		case claim.Spec.Holder == holder:
			err = p.touch(ctx, claim)
		default:
			err = p.displace(ctx, claim)
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return ErrContended
}

// touch adopts a claim that already names its holder. Another process may have read the claim and the holder before the
// holder wanted the key again, and be about to delete the claim: the new resourceVersion makes that fail.
func (p *Protocol[H]) touch(ctx context.Context, claim *v1alpha1.NameClaim) error {
	claim.Spec.Touches++
	return p.store.UpdateClaim(ctx, claim)
}

// displace deletes another holder's claim by the rule and returns NotFound, for the caller to claim again; or the
// reason why it stays.
func (p *Protocol[H]) displace(ctx context.Context, claim *v1alpha1.NameClaim) error {
	state, err := p.releaseRead(ctx, claim)
	switch {
	case err != nil:
		return err
	case state == terminating:
		return ErrReleasing
	case state == held:
		return &TakenError{Attribute: p.kind.Attribute, Holder: claim.Spec.Holder}
	default:
		return apierrors.NewNotFound(v1alpha1.Resource("nameclaims"), claim.Name)
	}
}

// discard removes a holder that never was effective, past its finalizer: nothing was granted to it. A conflict is
// the controller's status; anything else that changed the holder in between would have had to find it effective.
func (p *Protocol[H]) discard(ctx context.Context, holder H) error {
	for range attempts {
		err := p.discardRead(ctx, holder)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		if holder, err = p.store.GetHolder(ctx, holder.GetName()); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		}
	}
	return ErrContended
}

// discardRead discards the holder if it still is as it was read.
func (p *Protocol[H]) discardRead(ctx context.Context, holder H) error {
	if len(holder.GetFinalizers()) > 0 {
		holder.SetFinalizers(nil)
		if err := p.store.UpdateHolder(ctx, holder); err != nil {
			return err
		}
	}
	return p.store.DeleteHolder(ctx, holder)
}
