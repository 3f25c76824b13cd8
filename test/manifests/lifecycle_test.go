package manifests_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// make runs a target of the project's Makefile against the cluster.
func (c *cluster) make(t *testing.T, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", append([]string{"-C", "../..", "KUBECTL=" + c.Kubectl()}, arguments...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("make %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

// The way of an installation by make: every step is taken twice, as an unsure administrator does.
func TestDeployAndUndeploy(t *testing.T) {
	c := startCluster(t)
	const image = "localhost:5000/identity/scim-operator:v9"
	for range 2 {
		c.make(t, "install")
	}
	c.awaitGuard(t)
	c.definitionsAreGuarded(t)
	for range 2 {
		c.make(t, "deploy", "IMG="+image)
	}
	for _, name := range []string{localoperator.ServerAccount, localoperator.ControllerAccount} {
		deployment := &appsv1.Deployment{}
		must(t, c.admin.Get(t.Context(), client.ObjectKey{Namespace: localoperator.Namespace, Name: name}, deployment))
		if got := deployment.Spec.Template.Spec.Containers[0].Image; got != image {
			t.Errorf("Deployment %s has image %s", name, got)
		}
	}
	must(t, c.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: appNamespace}}))
	user := directoryObjects()[0]
	must(t, c.admin.Create(t.Context(), user)) // as from a backup
	for range 2 {
		output := c.make(t, "undeploy", "IMG="+image)
		if !strings.Contains(output, "1  users.scim-operator.io") {
			t.Errorf("make undeploy does not say that a User remains:\n%s", output)
		}
		c.definitionsAreGuarded(t)
		must(t, c.admin.Get(t.Context(), client.ObjectKeyFromObject(user), user))
		c.refusesForgery(t)
		c.runsNothing(t)
	}
	c.make(t, "deploy", "IMG="+image)
}

// refusesForgery: what would be believed when the operator is deployed again cannot be written meanwhile.
func (c *cluster) refusesForgery(t *testing.T) {
	t.Helper()
	const tenant = "administrator-of-the-kinds"
	c.allowAll(t, tenant)
	for _, object := range directoryObjects() {
		object.SetName("forged-bbbbbbbbbb")
		err := client.NewDryRunClient(c.as(t, tenant)).Create(t.Context(), object)
		if err == nil || !strings.Contains(err.Error(), "scim-operator-directory") {
			t.Errorf("while the operator is undeployed, creating %T: error %v", object, err)
		}
	}
}

// runsNothing: of the operator no workload and no right is left.
func (c *cluster) runsNothing(t *testing.T) {
	t.Helper()
	output, err := c.kubectl(t.Context(), "get", "--all-namespaces", "--output=name", "--selector=app.kubernetes.io/part-of=scim-operator",
		"deployments,services,poddisruptionbudgets,networkpolicies,roles,rolebindings,clusterroles,clusterrolebindings")
	must(t, err)
	if strings.Contains(output, "/") {
		t.Errorf("make undeploy leaves\n%s", output)
	}
}

// A deletion of everything, tried again, deletes no definition: the guard is part of what is deleted, and outlives it.
func TestDeletingTwiceKeepsDefinitions(t *testing.T) {
	c := startCluster(t)
	c.apply(t, "../../config/default")
	c.awaitGuard(t)
	for range 2 {
		output, err := c.kubectl(t.Context(), "delete", "--wait=false", "-k", "../../config/default")
		if err == nil || !strings.Contains(output, "deletes every User") {
			t.Errorf("kubectl delete -k is answered with error %v\n%s", err, output)
		}
		c.definitionsAreGuarded(t)
	}
	// Asked for, the end comes: first of the definitions, then of the guard.
	for _, arguments := range [][]string{
		{"annotate", "customresourcedefinitions", "users.scim-operator.io", "scim-operator.io/allow-deletion=true"},
		{"delete", "customresourcedefinition", "users.scim-operator.io"},
		{"patch", "validatingadmissionpolicybinding", guardName, "--type=merge", `--patch={"metadata":{"finalizers":null}}`},
	} {
		if output, err := c.kubectl(t.Context(), arguments...); err != nil {
			t.Errorf("kubectl %v: %v\n%s", arguments, err, output)
		}
	}
	bindings := &admissionv1.ValidatingAdmissionPolicyBindingList{}
	must(t, c.admin.List(t.Context(), bindings))
	if slices.ContainsFunc(bindings.Items, func(b admissionv1.ValidatingAdmissionPolicyBinding) bool { return b.Name == guardName }) {
		t.Error("the guard stays without its finalizer, after its deletion")
	}
}

const guardName = "scim-operator-definitions"

// awaitGuard returns when the API server knows the guard, about a second after it was installed.
func (c *cluster) awaitGuard(t *testing.T) {
	t.Helper()
	harness.Eventually(t, patience, "the guard of the CRDs", func(ctx context.Context) error {
		output, err := c.kubectl(ctx, "delete", "--dry-run=server", "customresourcedefinition", "users.scim-operator.io")
		if err == nil || !strings.Contains(output, guardName) {
			return fmt.Errorf("a deletion is answered with error %w: %s", err, output)
		}
		return nil
	})
}

// definitionsAreGuarded: all CRDs are there, none ends, and none can be deleted.
func (c *cluster) definitionsAreGuarded(t *testing.T) {
	t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("apiextensions.k8s.io/v1")
	list.SetKind("CustomResourceDefinitionList")
	must(t, c.admin.List(t.Context(), list))
	if len(list.Items) != 9 {
		t.Errorf("%d CRDs, want 9", len(list.Items))
	}
	for _, definition := range list.Items {
		if definition.GetDeletionTimestamp() != nil {
			t.Errorf("CRD %s is being deleted", definition.GetName())
		}
		err := client.NewDryRunClient(c.admin).Delete(t.Context(), &definition)
		if err == nil || !strings.Contains(err.Error(), guardName) {
			t.Errorf("CRD %s can be deleted: error %v", definition.GetName(), err)
		}
	}
}
