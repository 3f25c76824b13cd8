package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/bystander"
)

const (
	// bareLeavers is how many people at most leave by bare writes, bareSubjects how many of them each RoleBinding names, as the
	// product's do.
	bareLeavers, bareSubjects = 1200, 100
	barePrefix                = "bare:"
)

// bareLeaver leaves by what no operator can leave out, and no process of this project takes part in it: an object as large as the
// User, of a foreign kind, is read and written, then a RoleBinding without the subject. Nothing tells the one write of the other, and
// no rule or policy of this project looks at either.
type bareLeaver struct {
	subject string
	user    client.ObjectKey
	binding *rbacv1.RoleBinding
}

// makeBareLeavers copies Users of the App and binds their copies to one of its ClusterRoles.
func (c *convergence) makeBareLeavers(ctx context.Context) error {
	c.progress.say("making people that leave by bare writes")
	tenant := &bystander.Tenant{Admin: c.admin, Namespace: c.app.Namespace}
	if err := tenant.ForeignKinds(ctx); err != nil {
		return err
	}
	users := &unstructured.UnstructuredList{}
	users.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("UserList"))
	if err := c.admin.List(ctx, users, client.InNamespace(c.app.Namespace), client.MatchingLabels{v1alpha1.LabelApp: c.app.Name},
		client.Limit(bareLeavers)); err != nil {
		return err
	}
	c.bare = make([]bareLeaver, len(users.Items))
	copied := drive(ctx, len(users.Items), fillConcurrency, func(ctx context.Context, i int) error {
		copied := &users.Items[i]
		c.bare[i] = bareLeaver{subject: barePrefix + copied.GetName(), user: client.ObjectKeyFromObject(copied)}
		return c.copyForeign(ctx, copied)
	})
	if err := errors.Join(copied.first, ctx.Err()); err != nil {
		return err
	}
	for first := 0; first < len(c.bare); first += bareSubjects {
		if err := c.bindBare(ctx, c.bare[first:min(first+bareSubjects, len(c.bare))], fmt.Sprintf("bare-%04d", first)); err != nil {
			return err
		}
	}
	return nil
}

// copyForeign creates an object with the fields and the status of a User.
func (c *convergence) copyForeign(ctx context.Context, user *unstructured.Unstructured) error {
	status := user.Object["status"]
	user.SetGroupVersionKind(bystander.ForeignKind("User"))
	user.SetManagedFields(nil)
	user.SetFinalizers(nil)
	user.SetResourceVersion("")
	user.SetUID("")
	if err := c.admin.Create(ctx, user); err != nil {
		return err
	}
	user.Object["status"] = status
	return c.admin.Status().Update(ctx, user)
}

func (c *convergence) bindBare(ctx context.Context, leavers []bareLeaver, name string) error {
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.app.Namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "converge-" + c.roleName(0)},
	}
	for i := range leavers {
		leavers[i].binding = binding
		binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: leavers[i].subject})
	}
	return c.admin.Create(ctx, binding)
}

// nextBare is one that has not left, in another RoleBinding than the one before; nil where all have.
func (c *convergence) nextBare() *bareLeaver {
	bindings := (len(c.bare) + bareSubjects - 1) / bareSubjects
	for ; c.bareTried < bindings*bareSubjects; c.bareTried++ {
		if i := c.bareTried%bindings*bareSubjects + c.bareTried/bindings; i < len(c.bare) {
			c.bareTried++
			return &c.bare[i]
		}
	}
	return nil
}

func (c *convergence) leaveBare(ctx context.Context, leaver *bareLeaver) error {
	user := &unstructured.Unstructured{}
	user.SetGroupVersionKind(bystander.ForeignKind("User"))
	if err := c.admin.Get(ctx, leaver.user, user); err != nil {
		return err
	}
	if err := errors.Join(unstructured.SetNestedField(user.Object, false, "spec", "active"),
		unstructured.SetNestedField(user.Object, time.Now().UTC().Format(metav1.RFC3339Micro), "spec", "lastModified")); err != nil {
		return err
	}
	if err := c.admin.Update(ctx, user); err != nil {
		return err
	}
	leaver.binding.Subjects = slices.DeleteFunc(leaver.binding.Subjects, func(s rbacv1.Subject) bool { return s.Name == leaver.subject })
	return c.admin.Update(ctx, leaver.binding)
}
