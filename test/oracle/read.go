package oracle

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Cluster is everything that access follows from, and the bindings that there are.
type Cluster struct {
	Namespaces []corev1.Namespace
	Apps       []v1alpha1.App
	Users      []v1alpha1.User
	Groups     []v1alpha1.Group
	Shards     []v1alpha1.MemberShard
	Claims     []v1alpha1.NameClaim

	// At is when the access is looked at; zero: now.
	At time.Time

	AppRoleBindings     []v1alpha1.AppRoleBinding
	RoleBindings        []rbacv1.RoleBinding
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
}

// Read lists what there is of the Apps in these namespaces, and the bindings of the whole cluster. The reader must be live.
// The lists are read one after the other: they belong together only where nothing changes meanwhile. It fails with the first
// error of the reader.
func Read(ctx context.Context, reader client.Reader, directories ...string) (*Cluster, error) {
	c := &Cluster{}
	for _, directory := range directories {
		apps, users, groups := &v1alpha1.AppList{}, &v1alpha1.UserList{}, &v1alpha1.GroupList{}
		shards, claims, bindings := &v1alpha1.MemberShardList{}, &v1alpha1.NameClaimList{}, &v1alpha1.AppRoleBindingList{}
		for _, list := range []client.ObjectList{apps, users, groups, shards, claims, bindings} {
			if err := reader.List(ctx, list, client.InNamespace(directory)); err != nil {
				return nil, fmt.Errorf("reading namespace %s: %w", directory, err)
			}
		}
		c.Apps = slices.Concat(c.Apps, apps.Items)
		c.Users = slices.Concat(c.Users, users.Items)
		c.Groups = slices.Concat(c.Groups, groups.Items)
		c.Shards = slices.Concat(c.Shards, shards.Items)
		c.Claims = slices.Concat(c.Claims, claims.Items)
		c.AppRoleBindings = slices.Concat(c.AppRoleBindings, bindings.Items)
	}
	namespaces, roleBindings, clusterRoleBindings := &corev1.NamespaceList{}, &rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleBindingList{}
	for _, list := range []client.ObjectList{namespaces, roleBindings, clusterRoleBindings} {
		if err := reader.List(ctx, list); err != nil {
			return nil, err
		}
	}
	c.Namespaces, c.RoleBindings, c.ClusterRoleBindings = namespaces.Items, roleBindings.Items, clusterRoleBindings.Items
	return c, nil
}
