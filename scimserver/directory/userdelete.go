package directory

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Delete deletes a user. It returns nil once the deletion is durable: no read shows the user from then on, and the
// controller removes the user's bindings before it releases the finalizer. Delete waits for that, at most for patience,
// and then releases the name. If the wait runs out, the next request for the name releases it. It returns how far the end of
// the user's access came by then.
//
// Errors are 404, those of the conditions, and *UnavailableError.
func (u *Users) Delete(ctx context.Context, app *v1alpha1.App, id string, patience time.Duration, conditions ...Precondition) (Revocation, error) {
	user, err := u.delete(ctx, app, id, conditions)
	if err != nil {
		return RevocationPending, err
	}
	name := types.NamespacedName{Namespace: user.Namespace, Name: user.Name}
	u.model.hide(name)
	reached := RevocationPending
	gone := false
	u.waitFor(ctx, name, patience, func(entry *Entry) bool {
		gone = entry == nil || entry.uid != user.UID
		switch {
		case gone:
			reached = Revoked
		case entry.observed > user.Generation: // a finalizer of others holds the object: its status tells
			reached = entry.revocation
		}
		return reached != RevocationPending
	})
	if !gone {
		return reached, nil
	}
	if err := u.claimsIn(app.Namespace).Release(ctx, user); err != nil {
		logr.FromContextOrDiscard(ctx).V(1).Info("Left the claim of a deleted user to be released later", "user", id, "error", err.Error())
	}
	return Revoked, nil
}

// Revocation is how far the controller has ended a person's access.
type Revocation uint8

const (
	// RevocationPending says that bindings may name the person yet.
	RevocationPending Revocation = iota
	// RevocationOutlasted says that no binding of the person is left, but access may be: a binding names a group of theirs,
	// and tokens that were issued before carry it until they expire; or another user has the same Kubernetes name. There is
	// nothing to wait for.
	RevocationOutlasted
	// Revoked says that no binding gives the person anything.
	Revoked
)

// WaitRevoked waits until the controller has done all that it does to end a user's access, as the user was last written,
// or until the user is gone; patience at most. It returns how far that came.
func (u *Users) WaitRevoked(ctx context.Context, user *v1alpha1.User, patience time.Duration) Revocation {
	name := types.NamespacedName{Namespace: user.Namespace, Name: user.Name}
	reached := RevocationPending
	u.waitFor(ctx, name, patience, func(entry *Entry) bool {
		switch {
		case entry == nil || entry.uid != user.UID:
			reached = Revoked
		case entry.observed >= user.Generation:
			reached = entry.revocation
		}
		return reached != RevocationPending
	})
	return reached
}

func revocationOf(user *v1alpha1.User) Revocation {
	revocation := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
	switch {
	case revocation == nil:
		return RevocationPending
	case revocation.Status == metav1.ConditionTrue:
		return Revoked
	case v1alpha1.IsRevocationSettled(revocation):
		return RevocationOutlasted
	}
	return RevocationPending
}

// waitFor waits for a state of one user in the read model, patience at most: reached is asked at each change, and once
// at the end of the patience. nil stands for a user that is not there.
func (u *Users) waitFor(ctx context.Context, name types.NamespacedName, patience time.Duration, reached func(*Entry) bool) {
	changed, stop := u.model.watch(name)
	defer stop()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		if reached(u.model.get(name)) {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			reached(u.model.get(name))
			return
		case <-ctx.Done():
			return
		}
	}
}
