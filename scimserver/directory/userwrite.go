package directory

import (
	"context"
	"errors"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Change makes the next state of a user from its current one, which it may change in place. changed false says that there is
// nothing to write. It is called again with a newer state after a concurrent write, so it must not have effects of its own.
type Change func(current protocol.Resource) (next protocol.Resource, changed bool, err error)

// Create makes a user: active, unless the resource says otherwise. An inactive user of the App with the same externalId
// is the same person coming back: the resource takes the place of that record, which keeps its id, and restored is true.
// An active user is never taken over, whatever externalId a request names: externalId is the client's note, not a proof of
// identity. Errors are 409 uniqueness for the userName of another user, for the externalId of an active one, and for an
// externalId that several inactive users have; and 400 for a scope that the person would need and that is missing.
func (u *Users) Create(ctx context.Context, app *v1alpha1.App, resource protocol.Resource) (user *v1alpha1.User, restored bool, err error) {
	resource = activated(resource)
	return u.CreateOrRestore(ctx, app, resource, func(protocol.Resource) (protocol.Resource, bool, error) {
		return resource, true, nil
	})
}

// CreateOrRestore is Create with a say in what becomes of the record of a person that comes back: restore makes the
// next state from the old one. Errors are those of Create and of restore.
func (u *Users) CreateOrRestore(ctx context.Context, app *v1alpha1.App, resource protocol.Resource, restore Change) (user *v1alpha1.User, restored bool, err error) {
	user, err = u.newUser(app, resource)
	if err != nil {
		return nil, false, err
	}
	user.Spec.LastRequest = requestID(ctx)
	if user.Spec.ExternalID != "" {
		unlock, err := u.creating.lock(ctx, appName(app).String()+"/"+user.Spec.ExternalID)
		if err != nil {
			return nil, false, asClientSees(err)
		}
		defer unlock()
	}
	known, err := u.knownAs(ctx, app, user)
	if err != nil {
		return nil, false, asClientSees(err)
	}
	attribute := v1alpha1.ClaimUserName
	if known == nil {
		if err := checkScopes(app, &user.Spec); err != nil {
			return nil, false, err
		}
		err = u.claimsIn(app.Namespace).Create(ctx, user, claims.ForOtherNames(u.live, app)...)
		if err == nil {
			u.applyOwnWrite(user)
			return user, false, nil
		}
		var taken *claims.TakenError
		if !errors.As(err, &taken) {
			return nil, false, asClientSees(err)
		}
		attribute = taken.Attribute
		if known, err = u.read(ctx, appName(app), taken.Holder); err != nil {
			return nil, false, asClientSees(err)
		}
	}
	if known == nil || user.Spec.ExternalID == "" || known.Spec.ExternalID != user.Spec.ExternalID {
		return nil, false, errTaken(attribute)
	}
	return u.restore(ctx, app, known.Name, user.Spec.ExternalID, restore)
}

// restore lets restore change an inactive record. A record that is active, or has another externalId by the time of the
// write, is left as it is: 409.
func (u *Users) restore(ctx context.Context, app *v1alpha1.App, id, externalID string, restore Change) (*v1alpha1.User, bool, error) {
	user, err := u.Update(ctx, app, id, func(current protocol.Resource) (protocol.Resource, bool, error) {
		if current.Attributes["active"] != false || current.Attributes["externalId"] != externalID {
			return current, false, errExternalIDTaken()
		}
		return restore(current)
	})
	var problem *protocol.Error
	if errors.As(err, &problem) && problem.Status == 404 {
		// Deleted in between: a second attempt makes a new user.
		err = &UnavailableError{RetryAfter: retrySoon, Cause: ErrBusy}
	}
	return user, err == nil, err
}

// activated returns the resource with active in it.
func activated(resource protocol.Resource) protocol.Resource {
	resource = resource.DeepCopy()
	if _, given := resource.Attributes["active"]; !given {
		resource.Attributes["active"] = true
	}
	return resource
}

// newUser makes the object of a user that is not written yet.
func (u *Users) newUser(app *v1alpha1.App, resource protocol.Resource) (*v1alpha1.User, error) {
	user := &v1alpha1.User{Spec: v1alpha1.UserSpec{App: app.Name, Active: true}}
	if err := setResource(&user.Spec, resource); err != nil {
		return nil, err
	}
	id, err := newID(user.Spec.UserName)
	if err != nil {
		return nil, err
	}
	user.ObjectMeta = metav1.ObjectMeta{
		Namespace: app.Namespace, Name: id,
		Labels:     map[string]string{v1alpha1.LabelApp: app.Name},
		Finalizers: []string{v1alpha1.FinalizerAccess},
	}
	now := metav1.NowMicro()
	user.Spec.CreatedAt = &now
	return user, checkSize(&user.Spec, nil)
}

// knownAs returns the user that a new one would collide with: by externalId, or by userName. nil says only that the
// read model knows none: the claim decides.
func (u *Users) knownAs(ctx context.Context, app *v1alpha1.App, user *v1alpha1.User) (*v1alpha1.User, error) {
	if user.Spec.ExternalID != "" {
		known, err := u.FindByExternalID(ctx, app, user.Spec.ExternalID)
		if err != nil || len(known) > 0 {
			if err != nil {
				return nil, err
			}
			return onlyInactive(known, user.Spec.UserNameKey)
		}
	}
	if u.model.byKey(appName(app), user.Spec.UserNameKey) == nil {
		return nil, nil
	}
	return u.readByKey(ctx, appName(app), user.Spec.UserNameKey)
}

// onlyInactive returns the record that a POST with the externalId of these users may restore: the inactive one with the
// userName, else the only one. An active record among them, or several of other names, is 409.
func onlyInactive(users []*v1alpha1.User, key string) (*v1alpha1.User, error) {
	restorable := users[0]
	for _, user := range users {
		if user.Spec.Active {
			return nil, errExternalIDTaken()
		}
		if user.Spec.UserNameKey == key {
			restorable = user
		}
	}
	if len(users) > 1 && restorable.Spec.UserNameKey != key {
		return nil, errExternalIDAmbiguous()
	}
	return restorable, nil
}

// Replace puts a resource in the place of the user's current one, as PUT does (RFC 7644 section 3.5.1). active stays as
// it is where the resource does not say. Errors are those of Update.
func (u *Users) Replace(ctx context.Context, app *v1alpha1.App, id string, resource protocol.Resource) (*v1alpha1.User, error) {
	return u.Update(ctx, app, id, func(protocol.Resource) (protocol.Resource, bool, error) {
		return resource, true, nil
	})
}

// Update changes a user by compare-and-swap: it reads live, calls change, and writes. After a concurrent write it starts
// from the beginning. A state that equals the current one is not written, and lastModified stays. What is the cluster's own
// (suspended) and what never changes (the id, createdAt) survives whatever change returns.
//
// Errors are change's own, 404, 409 for another user's userName, 400 for what the API server's validation refuses, 413
// beyond what the directory keeps of one user, those of the conditions, and *UnavailableError.
func (u *Users) Update(ctx context.Context, app *v1alpha1.App, id string, change Change, conditions ...Precondition) (*v1alpha1.User, error) {
	return u.change(ctx, app, id, conditions, func(ctx context.Context, user *v1alpha1.User) (*v1alpha1.User, error) {
		return u.attempt(ctx, app, user, change)
	})
}

// attempt changes a user just read. Conflict asks for another attempt.
func (u *Users) attempt(ctx context.Context, app *v1alpha1.App, user *v1alpha1.User, change Change) (*v1alpha1.User, error) {
	next := user.DeepCopy()
	changed, err := apply(ctx, next, change)
	if err != nil || !changed {
		return user, err
	}
	if next.Spec.UserNameKey == user.Spec.UserNameKey {
		next.ManagedFields = nil // absent: the API server keeps its own
		err = u.live.Update(ctx, next)
	} else {
		// A copy: the read model may have the object that was read.
		next, err = u.claimsIn(app.Namespace).Rename(ctx, user.DeepCopy(), next.Spec.UserNameKey, func(user *v1alpha1.User) error {
			_, err := apply(ctx, user, change)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	u.applyOwnWrite(next)
	return next, nil
}

// apply makes a user's next state in place, and reports whether it differs.
func apply(ctx context.Context, user *v1alpha1.User, change Change) (bool, error) {
	current, err := Resource(user)
	if err != nil {
		return false, err
	}
	next, changed, err := changed(current, change)
	if err != nil || !changed {
		return false, err
	}
	if _, given := next.Attributes["active"]; given && reflect.DeepEqual(next, current) {
		return false, nil
	}
	before := user.Spec
	if err := setResource(&user.Spec, next); err != nil {
		return false, err
	}
	now := metav1.NowMicro()
	user.Spec.LastModified = &now
	user.Spec.LastRequest = requestID(ctx)
	if user.Spec.Active && !before.Active {
		user.Spec.ReactivatedAt = now.DeepCopy()
	}
	return true, checkSize(&user.Spec, &before)
}

// changed returns what a change makes of a resource, which stays as it is, and whether it asks for a write.
func changed(current protocol.Resource, change Change) (protocol.Resource, bool, error) {
	next, changed, err := change(current.DeepCopy())
	if len(next.Containers) == 0 {
		next.Containers = nil // as objects are read
	}
	return next, changed, err
}

// maxSpecBytes bounds what the directory keeps of one user, as JSON, whatever a client sends. The status and the API
// server's own bookkeeping have the rest of the 256 KiB that no object grows past.
const maxSpecBytes = 192 << 10

// checkSize refuses a spec that would grow past what a User may have of it.
func checkSize(spec, before *v1alpha1.UserSpec) error {
	if tooLarge, err := outgrows(maxSpecBytes, spec, before, clientsOwn); err != nil || !tooLarge {
		return err
	}
	return errTooLarge()
}

// clientsOwn leaves out what every change writes.
func clientsOwn(spec v1alpha1.UserSpec) any {
	spec.Active, spec.LastModified, spec.ReactivatedAt, spec.LastRequest = false, nil, nil, ""
	return &spec
}
