package security_test

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// The sample for tenants: what the cluster's administrator gives is enough for what the tenant applies, and for no more.
func TestSampleOfATenant(t *testing.T) {
	operator.ShowOnFailure(t)
	objects, err := localoperator.ReadObjects(config.FS, "samples/tenant")
	must(t, err)
	platform := slices.DeleteFunc(slices.Clone(objects), isOfTheTenant)
	must(t, localoperator.Apply(t.Context(), operator.Env.Config, platform))

	own := slices.DeleteFunc(objects, func(object *unstructured.Unstructured) bool { return !isOfTheTenant(object) })
	config, err := operator.Env.ControlPlane.UserConfig("pine:jane@example.com", "team-pine-admins")
	must(t, err)
	harness.Eventually(t, patience, "the tenant's rights", func(ctx context.Context) error { return localoperator.Apply(ctx, config, own) })
	must(t, localoperator.Apply(t.Context(), config, own)) // a second time changes nothing, and is allowed
	n := &tenant{namespace: "team-pine", prefix: "pine:", user: "pine:jane@example.com", admin: operator.Env.Client}
	n.client = asUser(t, n.user, "team-pine-admins")

	app, secret := &v1alpha1.App{}, &corev1.Secret{}
	must(t, n.client.Get(t.Context(), keyOf(n.namespace, "pine"), app))
	harness.Eventually(t, patience, "the generated token", func(ctx context.Context) error {
		return n.client.Get(ctx, keyOf(n.namespace, "pine-token"), secret)
	})
	person := assign(t, connect(t, app, string(secret.Data["token"])), app, "joe@example.com", "developer")
	n.viewSoon(t, person.subject, true)

	wide := n.newApp("wide")
	wide.Spec.Roles[0].Grants[0].ClusterRole = "admin"
	refusedBy(t, n.client.Create(t.Context(), wide), grantsPolicy, "ClusterRole admin")
	n.reachesNothing(t)
}

func isOfTheTenant(object *unstructured.Unstructured) bool {
	return object.GroupVersionKind().Group == v1alpha1.GroupName
}
