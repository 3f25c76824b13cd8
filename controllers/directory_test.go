package controllers_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

// directory is a namespace with an App, and its users and groups as the server writes them.
type directory struct {
	cluster
	namespace string
	app       *v1alpha1.App
}

// newDirectory makes the namespace. Its App has two roles, and is not written yet.
func newDirectory(t *testing.T) directory {
	t.Helper()
	namespace := env.Namespace(t, nil)
	return directory{cluster: cluster{T: t, ctx: t.Context()}, namespace: namespace, app: &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "demo"},
		Spec: v1alpha1.AppSpec{
			RoleAssignment: v1alpha1.RoleAssignment{FromAttributes: []string{"role", "roles"}, Default: []string{"viewer"}},
			Roles: []v1alpha1.Role{
				{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: bindable("get")}}},
				{Name: "admin", Grants: []v1alpha1.Grant{{ClusterRole: bindable("get")}, {ClusterRole: bindable("delete")}}},
			},
		},
	}}
}

var userCount atomic.Int64

// newUser returns an active user, not written yet.
func (d *directory) newUser(userName, attributes string) *v1alpha1.User {
	user := &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: fmt.Sprintf("user-%d", userCount.Add(1)), Finalizers: []string{v1alpha1.FinalizerAccess}},
		Spec: v1alpha1.UserSpec{
			App: d.app.Name, UserName: userName, UserNameKey: claims.Key(userName), Active: true,
			CreatedAt: &metav1.MicroTime{Time: time.Now()},
		},
	}
	if attributes != "" {
		user.Spec.Attributes = &runtime.RawExtension{Raw: []byte(attributes)}
	}
	return user
}

// provision writes a user as the server does: the User, then the claim.
func (d *directory) provision(user *v1alpha1.User) *v1alpha1.User {
	d.Helper()
	d.create(user)
	d.claim(user)
	return user
}

func (d *directory) claim(user *v1alpha1.User) {
	d.Helper()
	d.create(d.claimOf(user))
}

func (d *directory) claimOf(user *v1alpha1.User) *v1alpha1.NameClaim {
	return &v1alpha1.NameClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: claims.Name(user.Spec.App, v1alpha1.ClaimUserName, user.Spec.UserNameKey)},
		Spec: v1alpha1.NameClaimSpec{
			App: user.Spec.App, Attribute: v1alpha1.ClaimUserName, Value: user.Spec.UserNameKey, Holder: user.Name,
		},
	}
}
