package uninstall

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
)

// madeName is how the operator names native bindings.
var madeName = regexp.MustCompile(`^scim-[a-z2-7]{20}$`)

// binding is a RoleBinding or ClusterRoleBinding.
type binding struct {
	object   client.Object
	roleRef  rbacv1.RoleRef
	subjects []rbacv1.Subject
}

func (b binding) String() string {
	if b.object.GetNamespace() == "" {
		return "ClusterRoleBinding " + b.object.GetName()
	}
	return "RoleBinding " + b.object.GetNamespace() + "/" + b.object.GetName()
}

// own says whether the operator made a binding: it carries the operator's labels, or its name is the hash of an
// AppRoleBinding and the role, whatever was done to its labels.
func (b binding) own(appRoleBindings []v1alpha1.AppRoleBinding) bool {
	labels := b.object.GetLabels()
	if labels[v1alpha1.LabelManagedBy] == v1alpha1.ManagedByValue && labels[v1alpha1.LabelApp] != "" {
		return true
	}
	return madeName.MatchString(b.object.GetName()) && slices.ContainsFunc(appRoleBindings, func(a v1alpha1.AppRoleBinding) bool {
		return approlebinding.NativeName(&a, b.roleRef) == b.object.GetName()
	})
}

// bindings lists all native bindings of the cluster.
func (u *Uninstaller) bindings(ctx context.Context) ([]binding, error) {
	var roleBindings rbacv1.RoleBindingList
	var clusterRoleBindings rbacv1.ClusterRoleBindingList
	if err := errors.Join(u.client.List(ctx, &roleBindings), u.client.List(ctx, &clusterRoleBindings)); err != nil {
		return nil, err
	}
	var all []binding
	for i := range roleBindings.Items {
		b := &roleBindings.Items[i]
		all = append(all, binding{b, b.RoleRef, b.Subjects})
	}
	for i := range clusterRoleBindings.Items {
		b := &clusterRoleBindings.Items[i]
		all = append(all, binding{b, b.RoleRef, b.Subjects})
	}
	return all, nil
}

// ownBindings lists those that the operator made, and the others.
func (u *Uninstaller) ownBindings(ctx context.Context) (own, others []binding, err error) {
	var appRoleBindings v1alpha1.AppRoleBindingList
	if err := ignoreUnknownKind(u.client.List(ctx, &appRoleBindings)); err != nil {
		return nil, nil, err
	}
	all, err := u.bindings(ctx)
	for _, b := range all {
		if b.own(appRoleBindings.Items) {
			own = append(own, b)
		} else {
			others = append(others, b)
		}
	}
	return own, others, err
}

// ignoreUnknownKind takes a kind that is not installed, or not any more, for one without objects.
func ignoreUnknownKind(err error) error {
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// revoke takes the subjects out of every binding of the operator, and then the bindings: emptied first, a binding grants
// nothing even where something holds its deletion. Afterwards nothing of it may be left that names a subject.
func (u *Uninstaller) revoke(ctx context.Context) (string, error) {
	own, _, err := u.ownBindings(ctx)
	if err != nil {
		return "", err
	}
	var removed atomic.Int64
	err = inParallel(ctx, own, func(ctx context.Context, b binding) error {
		removed.Add(1)
		return u.removeBinding(ctx, b)
	})
	if err != nil {
		return "", err
	}
	left, _, err := u.ownBindings(ctx)
	if err != nil {
		return "", err
	}
	var granting []string
	for _, b := range left {
		switch {
		case len(b.subjects) > 0:
			granting = append(granting, fmt.Sprintf("%s still grants %s to %s%s", b, b.roleRef.Name, counted(len(b.subjects), "subject"), heldBy(b.object)))
		default:
			u.remain("%s grants nothing any more%s", b, heldBy(b.object))
		}
	}
	if len(granting) > 0 {
		return "", errors.New(strings.Join(granting, "\n"))
	}
	return counted(int(removed.Load()), "binding") + " revoked", nil
}

func heldBy(object client.Object) string {
	if finalizers := object.GetFinalizers(); len(finalizers) > 0 {
		return ", held by the finalizers " + strings.Join(finalizers, ", ")
	}
	return ""
}

// removeBinding empties one binding, then deletes it. Where the account may not write the binding, it is deleted at once.
func (u *Uninstaller) removeBinding(ctx context.Context, b binding) error {
	if len(b.subjects) > 0 {
		err := u.client.Patch(ctx, b.object.DeepCopyObject().(client.Object), client.RawPatch("application/merge-patch+json", []byte(`{"subjects":null}`)))
		if client.IgnoreNotFound(err) != nil && !apierrors.IsForbidden(err) {
			return fmt.Errorf("empty %s: %w", b, err)
		}
	}
	if err := u.client.Delete(ctx, b.object); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %s: %w", b, err)
	}
	return nil
}

// reportResidual tells which bindings by other hands name people of the Apps: they are not this operator's to remove, and
// go on granting.
func (u *Uninstaller) reportResidual(ctx context.Context) (string, error) {
	var apps v1alpha1.AppList
	if err := ignoreUnknownKind(u.client.List(ctx, &apps)); err != nil {
		return "", err
	}
	_, others, err := u.ownBindings(ctx)
	if err != nil {
		return "", err
	}
	count := 0
	for _, b := range others {
		for _, subject := range b.subjects {
			if app := personOf(apps.Items, subject); app != "" {
				count++
				u.say("      still granted: %s gives %s to %s %s, a name of App %s", b, b.roleRef.Name, subject.Kind, subject.Name, app)
			}
		}
		if madeName.MatchString(b.object.GetName()) && len(b.subjects) > 0 {
			count++
			u.say("      still granted: %s has a name as this operator makes them, and no label: it gives %s to %s", b, b.roleRef.Name, counted(len(b.subjects), "subject"))
		}
	}
	if count == 0 {
		return "none found", nil
	}
	return fmt.Sprintf("%d grants by bindings that other hands made stay: remove them yourself if they should end", count), nil
}

// personOf returns the App with the prefix that a subject bears, "" for none. An empty prefix says nothing about a name.
func personOf(apps []v1alpha1.App, subject rbacv1.Subject) string {
	for i := range apps {
		mapping := apps[i].Spec.Kubernetes
		prefix := ptr.Deref(mapping.UsernamePrefix, v1alpha1.DefaultUsernamePrefix)
		if subject.Kind == rbacv1.GroupKind {
			prefix = ptr.Deref(mapping.GroupPrefix, v1alpha1.DefaultUsernamePrefix)
		}
		named := subject.Kind == rbacv1.UserKind || subject.Kind == rbacv1.GroupKind
		if named && prefix != "" && strings.HasPrefix(subject.Name, prefix) {
			return apps[i].Namespace + "/" + apps[i].Name
		}
	}
	return ""
}
