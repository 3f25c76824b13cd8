package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// foreignFinalizer is put onto bindings by hand, and never taken off.
const foreignFinalizer = "example.com/hold"

// intruder is put into bindings by hand, and was never provisioned.
const intruder = "intruder@example.com"

func (c *chaos) createNamespace(name string, labels map[string]string) {
	err := c.client.Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	if err == nil {
		err = c.createDeployer(name)
	}
	if err == nil {
		c.count("namespace created")
		c.note("namespace %s: created, %v", name, labels)
	} else if !apierrors.IsAlreadyExists(err) { // or it is still being deleted
		c.t.Errorf("creating namespace %s: %v", name, err)
	}
}

// createDeployer creates the Role that the Apps' role deployer grants: an App is not Ready while one of its namespaces lacks it.
func (c *chaos) createDeployer(namespace string) error {
	return c.client.Create(c.t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "chaos-deployer"}})
}

func (c *chaos) labels(region, tier string) map[string]string {
	return map[string]string{"chaos": c.namespaces[0], "region": region, "tier": tier}
}

func (c *chaos) randomLabels(random *rand.Rand) map[string]string {
	return c.labels([]string{"us1", "emea2", ""}[random.IntN(3)], []string{"gold", "silver", "bronze"}[random.IntN(3)])
}

// moveNamespaces creates, relabels and deletes namespaces until ctx ends.
func (c *chaos) moveNamespaces(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		name := c.namespaces[random.IntN(len(c.namespaces))]
		namespace := &corev1.Namespace{}
		err := c.client.Get(c.t.Context(), client.ObjectKey{Name: name}, namespace)
		switch {
		case apierrors.IsNotFound(err):
			c.createNamespace(name, c.randomLabels(random))
		case err != nil:
			c.t.Errorf("reading namespace %s: %v", name, err)
		case !namespace.DeletionTimestamp.IsZero():
		// One namespace always stays: in the end there must be some access to compare.
		case random.IntN(3) == 0 && name != c.namespaces[0]:
			if err := c.client.Delete(c.t.Context(), namespace); client.IgnoreNotFound(err) != nil {
				c.t.Errorf("deleting namespace %s: %v", name, err)
			}
			c.count("namespace deleted")
			c.note("namespace %s: deleted", name)
		default:
			c.relabel(name, c.randomLabels(random))
			c.count("namespace relabelled")
		}
		pause(ctx, between(random, 50*time.Millisecond, 1200*time.Millisecond))
	}
}

// relabel gives a namespace other labels, if there is such a namespace.
func (c *chaos) relabel(name string, labels map[string]string) {
	namespace := &corev1.Namespace{}
	err := c.client.Get(c.t.Context(), client.ObjectKey{Name: name}, namespace)
	if err == nil {
		before := namespace.DeepCopy()
		namespace.Labels = labels
		err = c.client.Patch(c.t.Context(), namespace, client.MergeFrom(before))
		c.note("namespace %s: %v", name, labels)
	}
	if client.IgnoreNotFound(err) != nil {
		c.t.Errorf("relabelling namespace %s: %v", name, err)
	}
}

// tamperer edits by hand what the controllers own.
type tamperer struct{ *chaos }

// tamper does what people with kubectl should not do, and what operators may, until ctx ends.
func (c tamperer) tamper(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		what := c.tampering.draw(random)
		var err error
		switch what {
		case "binding tampered with":
			err = c.tamperWithNative(random)
		case "AppRoleBinding tampered with":
			err = c.tamperWithAppRoleBinding(random)
		case "usurper created":
			err = c.usurp(random)
		default:
			err = c.tamperWithUser(random, what)
		}
		switch {
		case apierrors.IsConflict(err) || apierrors.IsNotFound(err): // another writer was faster
		case err != nil:
			c.t.Errorf("%s: %v", what, err)
		default:
			c.count(what)
		}
		pause(ctx, between(random, 0, 300*time.Millisecond))
	}
}

// tamperWithNative edits, or deletes, one of the native bindings of the Apps. Two Apps' are left alone: the guard does not
// count what people lose by hand, and a binding without its marks outlives its App unless the operator noted it before.
func (c tamperer) tamperWithNative(random *rand.Rand) error {
	ctx := c.t.Context()
	marks, err := labels.Parse(fmt.Sprintf("%s=%s,%s=%s,%s notin (%s,%s)", v1alpha1.LabelManagedBy, v1alpha1.ManagedByValue,
		v1alpha1.LabelAppNamespace, c.apps[large].Namespace, v1alpha1.LabelApp, c.apps[guarded].Name, c.apps[passing].Name))
	if err != nil {
		return err
	}
	marked := client.MatchingLabelsSelector{Selector: marks}
	bindings, clusterBindings := &rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleBindingList{}
	if err := c.client.List(ctx, bindings, marked); err != nil {
		return err
	}
	if err := c.client.List(ctx, clusterBindings, marked); err != nil {
		return err
	}
	total := len(bindings.Items) + len(clusterBindings.Items)
	if total == 0 {
		return apierrors.NewNotFound(rbacv1.Resource("rolebindings"), "any")
	}
	var object client.Object
	var subjects *[]rbacv1.Subject
	if i := random.IntN(total); i < len(bindings.Items) {
		object, subjects = &bindings.Items[i], &bindings.Items[i].Subjects
	} else {
		i -= len(bindings.Items)
		object, subjects = &clusterBindings.Items[i], &clusterBindings.Items[i].Subjects
	}
	var how string
	switch random.IntN(10) {
	case 0:
		c.noteTampering(object, "deleted")
		return c.client.Delete(ctx, object)
	case 7:
		how = "finalizer added"
		object.SetFinalizers([]string{foreignFinalizer})
	case 8:
		how = "finalizer added, to be deleted"
		object.SetFinalizers([]string{foreignFinalizer})
	case 9:
		how = "owner added"
		object.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: "00000000-0000-0000-0000-000000000000"}})
	case 1:
		how = "first subject removed"
		if len(*subjects) > 0 {
			*subjects = (*subjects)[1:]
		}
	case 2:
		how = "a leaver added"
		name, err := c.leaver(random)
		if err != nil {
			return err
		}
		*subjects = append(*subjects, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name})
	case 3:
		how = "intruder added"
		*subjects = append(*subjects, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: c.apps[0].Subject(intruder)})
	case 4:
		how = "labels removed"
		object.SetLabels(nil)
	case 5:
		how = "annotations removed"
		object.SetAnnotations(nil)
	default:
		how = "label of the App changed"
		labels := object.GetLabels()
		labels[v1alpha1.LabelApp] = "another"
	}
	if err := c.client.Update(ctx, object); err != nil {
		return err
	}
	c.noteTampering(object, how)
	c.mu.Lock()
	c.own[object.GetResourceVersion()] = true
	c.mu.Unlock()
	if how == "finalizer added, to be deleted" {
		return c.client.Delete(ctx, object)
	}
	return nil
}

// noteTampering remembers what was done to a binding: where it is wrong in the end, that is the first thing to know.
func (c tamperer) noteTampering(binding client.Object, how string) {
	c.note("%T %s/%s: %s, at revision %s", binding, binding.GetNamespace(), binding.GetName(), how, binding.GetResourceVersion())
}

// leaver returns the Kubernetes name of a user that is inactive, or the intruder's where there is none.
func (c tamperer) leaver(random *rand.Rand) (string, error) {
	users := &v1alpha1.UserList{}
	if err := c.client.List(c.t.Context(), users, client.InNamespace(c.apps[0].Namespace), client.MatchingFields{"spec.active": "false"}); err != nil {
		return "", err
	}
	users.Items = slices.DeleteFunc(users.Items, func(user v1alpha1.User) bool { return c.appOf(user.Spec.App).shape.kind >= guarded })
	if len(users.Items) == 0 {
		return c.apps[large].Subject(intruder), nil
	}
	user := &users.Items[random.IntN(len(users.Items))]
	return c.appOf(user.Spec.App).Subject(user.Spec.UserName), nil
}

func (c tamperer) tamperWithAppRoleBinding(random *rand.Rand) error {
	ctx := c.t.Context()
	list := &v1alpha1.AppRoleBindingList{}
	if err := c.client.List(ctx, list, client.InNamespace(c.apps[0].Namespace)); err != nil {
		return err
	}
	list.Items = slices.DeleteFunc(list.Items, func(binding v1alpha1.AppRoleBinding) bool { return c.appOf(binding.Spec.App).shape.kind >= guarded })
	if len(list.Items) == 0 {
		return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("approlebindings").GroupResource(), "any")
	}
	binding := &list.Items[random.IntN(len(list.Items))]
	var how string
	switch random.IntN(5) {
	case 0:
		c.noteTampering(binding, "deleted")
		return c.client.Delete(ctx, binding)
	case 4:
		how = "finalizer added"
		binding.Finalizers = append(binding.Finalizers, foreignFinalizer)
	case 1:
		how = "first subject removed"
		if len(binding.Spec.Subjects) > 0 {
			binding.Spec.Subjects = binding.Spec.Subjects[1:]
		}
	case 2:
		how = "all subjects removed"
		binding.Spec.Subjects = nil
	default:
		how = "intruder added"
		binding.Spec.Subjects = append(binding.Spec.Subjects, v1alpha1.AppRoleSubject{User: "intruder", Name: c.apps[0].Subject(intruder)})
	}
	err := c.client.Update(ctx, binding)
	if err == nil {
		c.noteTampering(binding, how)
	}
	return err
}

// errNoUser says that there was no user to tamper with. It is as good as a faster writer.
var errNoUser = apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("users").GroupResource(), "any")

// tamperWithUser suspends a user, releases one, or edits or deletes a User. The crowds are left alone: the groups rely on
// one, and the guard's history counts the other one's losses by changes that are not their own.
func (c tamperer) tamperWithUser(random *rand.Rand, what string) error {
	ctx := c.t.Context()
	users := &v1alpha1.UserList{}
	if err := c.client.List(ctx, users, client.InNamespace(c.apps[0].Namespace)); err != nil {
		return err
	}
	alone := slices.Concat(c.crowd, c.guarded)
	chosen := slices.DeleteFunc(users.Items, func(user v1alpha1.User) bool {
		return user.Spec.Suspended != (what == "person released") ||
			slices.ContainsFunc(alone, func(member okta.GroupMember) bool { return member.ID == user.Name })
	})
	if len(chosen) == 0 {
		return errNoUser
	}
	user := &chosen[random.IntN(len(chosen))]
	before := user.DeepCopy()
	switch what {
	case "person deleted by hand":
		return c.client.Delete(ctx, user)
	case "person edited by hand":
		user.Spec.Title = []string{"Lead of all", "Engineer"}[random.IntN(2)]
	default:
		user.Spec.Suspended = what == "person suspended"
	}
	return c.client.Patch(ctx, user, client.MergeFrom(before))
}

// usurperPrefix begins the names of Users that are written by hand under the name of another User.
const usurperPrefix = "usurper-"

// usurp writes a User by hand under a name that a User of the crowd has. It must never have anything.
func (c tamperer) usurp(random *rand.Rand) error {
	victim := &v1alpha1.User{}
	key := client.ObjectKey{Namespace: c.apps[0].Namespace, Name: c.crowd[random.IntN(len(c.crowd))].ID}
	if err := c.client.Get(c.t.Context(), key, victim); err != nil {
		return err
	}
	usurper := &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: fmt.Sprintf("%s%d", usurperPrefix, people.Add(1))},
		Spec:       *victim.Spec.DeepCopy(),
	}
	usurper.Spec.Emails = []v1alpha1.MultiValue{{Value: usurper.Name + "@example.com", Primary: true}}
	usurper.Spec.Enterprise = &v1alpha1.EnterpriseUser{Department: "Platform"}
	return c.client.Create(c.t.Context(), usurper)
}
