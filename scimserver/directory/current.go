package directory

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// Read is Get, for an answer: it returns the user as the read model has it, where a live read of the user's metadata proves that
// nothing has changed since, and reads the whole user where not. Errors are those of Get.
func (u *Users) Read(ctx context.Context, app *v1alpha1.App, id string) (*Entry, error) {
	e, proven, err := present(ctx, u.live, appName(app), u.model.get(types.NamespacedName{Namespace: app.Namespace, Name: id}))
	switch {
	case err != nil:
		return nil, u.asClientSees(err, id)
	case e != nil:
		return e, nil
	case proven:
		return nil, u.notFound(id)
	}
	user, err := u.Get(ctx, app, id)
	if err != nil {
		return nil, err
	}
	return newEntry(user), nil
}

// readByUserName is FindByUserName under the terms of Read.
func (u *Users) readByUserName(ctx context.Context, app *v1alpha1.App, userName string) ([]*Entry, error) {
	e, _, err := present(ctx, u.live, appName(app), u.model.byKey(appName(app), claims.Key(userName)))
	switch {
	case err != nil:
		return nil, asClientSees(err)
	case e != nil:
		return []*Entry{e}, nil
	}
	users, err := u.FindByUserName(ctx, app, userName) // the claim may name another one by now
	return entriesOf(users), err
}

func entriesOf(users []*v1alpha1.User) []*Entry {
	entries := make([]*Entry, len(users))
	for i, user := range users {
		entries[i] = newEntry(user)
	}
	return entries
}

// present proves by a live read whether an entry of the read model is the present state of its user. The metadata is enough for that:
// the API server does not encode the object, and this process neither decodes nor renders it. The result is nil where the user is gone.
// proven is false where the whole object must be read: it has another state by now, or no entry is known that clients of the App see for
// certain.
//
// Two states of an object with one UID have different resourceVersions, but where a store was put back from a backup: for that
// case the generation is compared, too.
func present(ctx context.Context, live client.Client, app types.NamespacedName, e *Entry) (current *Entry, proven bool, err error) {
	if e == nil || e.app.Value() != app || !e.certain() {
		return nil, false, nil
	}
	read := &metav1.PartialObjectMetadata{}
	read.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("User"))
	err = live.Get(ctx, e.name(), read)
	switch {
	case apierrors.IsNotFound(err):
		return nil, true, nil
	case err != nil:
		return nil, false, err
	case read.UID != e.uid || read.ResourceVersion != e.resourceVersion || uint32(read.Generation) != e.generation:
		return nil, false, nil
	}
	return e, true, nil
}
