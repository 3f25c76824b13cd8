package security_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// What the controller may write of Apps and Users is their metadata.
func TestControllerChangesNoSpec(t *testing.T) {
	operator.ShowOnFailure(t)
	n := newTenant(t)
	person := n.provision(t, "somebody")
	restConfig, err := clientcmd.BuildConfigFromFlags("", operator.ControllerKubeconfig)
	must(t, err)
	controller, err := client.New(restConfig, client.Options{Scheme: operator.Env.Scheme})
	must(t, err)
	controller = client.NewDryRunClient(controller)
	app, user := &v1alpha1.App{}, &v1alpha1.User{}
	must(t, n.admin.Get(t.Context(), keyOf(n.namespace, "own"), app))
	must(t, n.admin.Get(t.Context(), keyOf(n.namespace, person.id), user))
	for _, object := range []client.Object{app, user} {
		t.Run(kindOf(object), func(t *testing.T) {
			must(t, controller.Patch(t.Context(), copyOf(object), mergePatch(`{"metadata":{"finalizers":["scim-operator.io/security-test"]}}`)))
			// Of view and edit, which it may bind, it can grant nothing either.
			for _, patch := range map[string][]string{
				"App":  {`{"displayName":"other"}`, `{"mode":"Observe"}`, `{"roles":[{"name":"viewer","grants":[{"clusterRole":"edit"}]}]}`},
				"User": {`{"displayName":"other"}`, `{"active":false}`, `{"suspended":true}`, `{"roles":[{"value":"other"}]}`},
			}[kindOf(object)] {
				err := controller.Patch(t.Context(), copyOf(object), mergePatch(`{"spec":`+patch+`}`))
				refusedBy(t, err, "scim-operator-controller", "never their spec")
			}
		})
	}
}

// An AppRoleBinding that was written by hand, with rights beyond all policies, gives no access.
func TestHandMadeBinding(t *testing.T) {
	operator.ShowOnFailure(t)
	n := newTenant(t)
	app := n.newApp("own")
	scim := n.opened(t, app)
	n.viewSoon(t, assign(t, scim, app, "first", "viewer").subject, true)
	const stranger = "somebody-else"
	binding := n.directory(app.Name, "viewer")[4].(*v1alpha1.AppRoleBinding)
	binding.Spec.Subjects[0].Name = stranger
	refusedBy(t, n.client.Create(t.Context(), copyOf(binding)), writersPolicy)
	must(t, n.admin.Create(t.Context(), binding))
	// The controller's own is put right.
	list := &v1alpha1.AppRoleBindingList{}
	must(t, n.admin.List(t.Context(), list, client.InNamespace(n.namespace)))
	own := &list.Items[slices.IndexFunc(list.Items, func(b v1alpha1.AppRoleBinding) bool { return b.Name != binding.Name })]
	before := own.DeepCopy()
	own.Spec.Subjects = append(own.Spec.Subjects, v1alpha1.AppRoleSubject{User: handMade, Name: stranger})
	refusedBy(t, n.client.Patch(t.Context(), own.DeepCopy(), client.MergeFrom(before)), writersPolicy)
	must(t, n.admin.Patch(t.Context(), own, client.MergeFrom(before)))
	harness.Eventually(t, patience, "the repair of the binding", func(ctx context.Context) error {
		if err := n.admin.Get(ctx, client.ObjectKeyFromObject(own), own); err != nil {
			return err
		}
		if len(own.Spec.Subjects) != 1 {
			return fmt.Errorf("the subjects are %v", own.Spec.Subjects)
		}
		return nil
	})
	// A change that comes later goes through the same bindings.
	n.viewSoon(t, assign(t, scim, app, "second", "viewer").subject, true)
	must(t, n.views(t.Context(), stranger, false))
}

// The second layer: with no policy in the cluster, the controller itself binds what its manifests list and nothing else.
func TestControllerBindsItsListWithoutPolicies(t *testing.T) {
	operator.ShowOnFailure(t)
	n := newTenant(t)
	wide := n.newApp("own")
	wide.Spec.Roles = append(wide.Spec.Roles,
		v1alpha1.Role{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}},
		v1alpha1.Role{Name: "controller", Grants: []v1alpha1.Grant{{ClusterRole: localoperator.ControllerAccount}}},
		v1alpha1.Role{Name: "admin", Grants: []v1alpha1.Grant{{ClusterRole: "admin"}}})
	n.withoutPolicies(t)
	scim := n.opened(t, wide)
	person := assign(t, scim, wide, "ambitious", "viewer", "root", "controller", "admin")
	n.viewSoon(t, person.subject, true)
	// By hand, too.
	objects := n.directory(wide.Name, "root")
	for _, object := range objects {
		must(t, n.client.Create(t.Context(), object))
	}
	refused := map[string]bool{}
	harness.Eventually(t, patience, "three refusals", func(ctx context.Context) error {
		list := &v1alpha1.AppRoleBindingList{}
		if err := n.admin.List(ctx, list, client.InNamespace(n.namespace)); err != nil {
			return err
		}
		for _, binding := range list.Items {
			ready := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionReady)
			if ready != nil && ready.Reason == v1alpha1.ReasonForbidden {
				refused[binding.Spec.RoleRef.Name] = true
			}
		}
		if len(refused) != 3 {
			return fmt.Errorf("refused are %v", refused)
		}
		return nil
	})
	roleBindings, clusterRoleBindings := &rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleBindingList{}
	must(t, n.admin.List(t.Context(), roleBindings))
	must(t, n.admin.List(t.Context(), clusterRoleBindings))
	for _, binding := range roleBindings.Items {
		if binding.Labels[v1alpha1.LabelManagedBy] == v1alpha1.ManagedByValue && binding.Namespace == n.namespace && binding.RoleRef.Name != "view" {
			t.Errorf("RoleBinding %s binds %s", binding.Name, binding.RoleRef.Name)
		}
	}
	for _, binding := range clusterRoleBindings.Items {
		if binding.Labels[v1alpha1.LabelAppNamespace] == n.namespace {
			t.Errorf("ClusterRoleBinding %s binds %s", binding.Name, binding.RoleRef.Name)
		}
	}
	n.reachesNothing(t)
	for _, verb := range []string{"get", "create"} {
		allowed, err := operator.CanI(t.Context(), person.subject, verb, "secrets", n.namespace)
		must(t, err)
		if allowed {
			t.Errorf("%s can %s Secrets", person.subject, verb)
		}
	}
}

// withoutPolicies takes every binding of a policy away until the test ends; then it shows that an installation returns
// only when all policies are in force.
func (n *tenant) withoutPolicies(t *testing.T) {
	t.Helper()
	n.takeAway(t)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		must(t, localoperator.Install(ctx, operator.Env.Config, config.FS))
		widened := n.newApp("after")
		widened.Spec.Roles[0].Grants[0].ClusterRole = "cluster-admin"
		refusedBy(t, n.client.Create(ctx, widened), grantsPolicy)
		for _, object := range n.directory("after", "viewer") {
			object.SetName("after")
			refusedBy(t, n.client.Create(ctx, object), writersPolicy)
		}
	})
}

// takeAway deletes the policies' bindings and waits until none is in force.
func (n *tenant) takeAway(t testing.TB) {
	t.Helper()
	objects, err := localoperator.ReadObjects(config.FS, "policies")
	must(t, err)
	guard, err := localoperator.ReadObjects(config.FS, "crd")
	must(t, err)
	for _, object := range append(objects, guard...) {
		if object.GetKind() == "ValidatingAdmissionPolicyBinding" {
			must(t, n.admin.Patch(t.Context(), object.DeepCopy(), mergePatch(`{"metadata":{"finalizers":null}}`)))
			must(t, n.admin.Delete(t.Context(), object))
		}
	}
	app := n.newApp("probe")
	app.Spec.Roles[0].Grants[0].ClusterRole, app.Spec.Kubernetes.UsernamePrefix = "cluster-admin", nil
	probes := append(n.directory("probe", "viewer"), app)
	dryRun := client.NewDryRunClient(n.client)
	took := harness.Eventually(t, patience, "the end of the policies", func(ctx context.Context) error {
		for _, probe := range probes {
			if err := dryRun.Create(ctx, copyOf(probe)); err != nil {
				return err
			}
		}
		return nil
	})
	t.Logf("the end of the policies was in force after %s", took.Round(time.Millisecond))
}
