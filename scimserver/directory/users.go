package directory

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Users is the users of all Apps. What it has of single users is read live; lists and orders come from the read model.
type Users struct {
	*collection[*v1alpha1.User, *Entry]

	apps     *apps
	members  *memberships
	orders   *orders
	creating keyedLocks
}

func newUsers(live client.Client, apps *apps, members *memberships) *Users {
	orders := newOrders()
	model := newReadModel(observer[*Entry]{
		added: orders.add, removed: orders.remove,
		replaced: func(name types.NamespacedName, e *Entry, visible bool) {
			if visible {
				members.index.PutName(name, e.app.Value().Name, e.userName)
			} else {
				members.index.PutName(name, "", "")
			}
		},
	})
	orders.model = model
	return &Users{
		collection: &collection[*v1alpha1.User, *Entry]{
			kind: kind[*v1alpha1.User, *Entry]{
				claims:       claims.Users,
				empty:        func() *v1alpha1.User { return &v1alpha1.User{} },
				entry:        newEntry,
				createdAt:    func(user *v1alpha1.User) *metav1.MicroTime { return user.Spec.CreatedAt },
				version:      func(user *v1alpha1.User) version { return userVersion(user, members.shownTo(user)) },
				changed:      members.index.Changed,
				asClientSees: asUserClientSees,
				notFound:     errNotFound,
			},
			live: live, model: model, unverified: newVerifyQueue(),
		},
		apps: apps, members: members, orders: orders,
	}
}

// Schemas returns what the App knows about users: RFC 7643 and the App's own attributes.
func (u *Users) Schemas(app *v1alpha1.App) *protocol.SchemaSet { return u.apps.schemas(app) }

// GroupsOf returns the groups that a user of the App is in, in the order of their ids, from memory.
func (u *Users) GroupsOf(app *v1alpha1.App, id string) []GroupRef {
	return u.members.refs(appName(app), id)
}

// Meta is the function Meta with the groups that the user is in, and with the version that they make.
func (u *Users) Meta(user *v1alpha1.User, baseURL string) protocol.Meta {
	meta := Meta(user, baseURL)
	meta.Groups = u.members.shownTo(user)
	meta.Version = userVersion(user, meta.Groups).String()
	return meta
}

func (u *Users) onUserEvent(object any) {
	if e, ok := asEntry(object); ok {
		u.onEvent(e)
	}
}

func (u *Users) onUserDelete(object any) {
	if e, ok := asEntry(object); ok {
		u.forget(e)
	}
}

// asEntry takes what the informer has: an Entry where its cache transforms by Compact, a User otherwise.
func asEntry(object any) (*Entry, bool) {
	switch object := object.(type) {
	case *Entry:
		return object, true
	case *v1alpha1.User:
		return newEntry(object), true
	}
	return nil, false
}
