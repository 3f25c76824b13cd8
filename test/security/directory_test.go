package security_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const handMade = "mallory-aaaaaaaaaa"

// directory is one object of each kind that the operator writes, such that its subject would hold an App's role.
func (n *tenant) directory(app, role string) []client.Object {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: n.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelApp: app}}
	}
	return []client.Object{
		&v1alpha1.User{ObjectMeta: meta(handMade), Spec: v1alpha1.UserSpec{
			App: app, UserName: "mallory", UserNameKey: "mallory", Active: true, Roles: []v1alpha1.MultiValue{{Value: role}},
		}},
		&v1alpha1.NameClaim{ObjectMeta: meta("claim"), Spec: v1alpha1.NameClaimSpec{
			App: app, Attribute: v1alpha1.ClaimUserName, Value: "mallory", Holder: handMade,
		}},
		&v1alpha1.Group{ObjectMeta: meta("admins-aaaaaaaaaa"), Spec: v1alpha1.GroupSpec{
			App: app, DisplayName: "Admins", DisplayNameKey: "admins", Members: []string{handMade},
		}},
		&v1alpha1.MemberShard{ObjectMeta: meta("shard"), Spec: v1alpha1.MemberShardSpec{
			App: app, Group: "admins-aaaaaaaaaa", Epoch: "aaaaaaaaaa", Members: []string{handMade},
		}},
		&v1alpha1.AppRoleBinding{ObjectMeta: meta("binding"), Spec: v1alpha1.AppRoleBindingSpec{
			App: app, RoleRef: v1alpha1.AppRoleRef{Name: role}, Scope: v1alpha1.DefaultScope,
			Subjects: []v1alpha1.AppRoleSubject{{User: handMade, Name: n.user}},
		}},
		&v1alpha1.RevocationList{
			ObjectMeta: meta(v1alpha1.RevocationListName(keyOf(n.namespace, app))),
			Spec:       v1alpha1.RevocationListSpec{App: v1alpha1.RevocationListApp{Namespace: n.namespace, Name: app}},
		},
	}
}

func kindOf(object client.Object) string { return fmt.Sprintf("%T", object)[len("*v1alpha1."):] }

// What only the operator writes is access: made by hand, it would be access that no App granted.
func TestDirectoryIsWrittenByTheOperatorAlone(t *testing.T) {
	n := newTenant(t)
	// The App only observes: what is made by hand below must stay as it is.
	app := n.newApp("own")
	app.Spec.Mode = v1alpha1.ModeObserve
	must(t, n.client.Create(t.Context(), app))
	for _, object := range n.directory(app.Name, "viewer") {
		t.Run(kindOf(object), func(t *testing.T) {
			refusedBy(t, n.client.Create(t.Context(), object.DeepCopyObject().(client.Object)), writersPolicy, "identity provider", `"escalate"`)
			// The cluster's administrator restores a backup.
			object.SetFinalizers([]string{v1alpha1.GroupName + "/security-test"})
			must(t, n.admin.Create(t.Context(), object))
			defer n.release(t, object)

			for name, patch := range map[string]string{
				"the operator's label":      `{"metadata":{"labels":{"scim-operator.io/app":"other"}}}`,
				"the operator's annotation": `{"metadata":{"annotations":{"scim-operator.io/written-at-generation":"9"}}}`,
				"the operator's finalizer":  `{"metadata":{"finalizers":null}}`,
			} {
				t.Run(name, func(t *testing.T) {
					refusedBy(t, n.client.Patch(t.Context(), copyOf(object), mergePatch(patch)), writersPolicy)
				})
			}
			must(t, n.client.Patch(t.Context(), copyOf(object), mergePatch(`{"metadata":{"labels":{"team":"a"},"annotations":{"example.com/note":"seen"}}}`)))
			must(t, n.client.Delete(t.Context(), copyOf(object)))
		})
	}
}

func copyOf(object client.Object) client.Object { return object.DeepCopyObject().(client.Object) }

// release lets a deleted object go, as the cluster's administrator.
func (n *tenant) release(t *testing.T, object client.Object) {
	t.Helper()
	must(t, client.IgnoreNotFound(n.admin.Delete(t.Context(), copyOf(object))))
	must(t, client.IgnoreNotFound(n.admin.Patch(t.Context(), copyOf(object), mergePatch(`{"metadata":{"finalizers":null}}`))))
}

func TestEditsOfTheDirectory(t *testing.T) {
	n := newTenant(t)
	app := n.newApp("own")
	app.Spec.Mode = v1alpha1.ModeObserve
	must(t, n.client.Create(t.Context(), app))
	objects := map[string]client.Object{}
	for _, object := range n.directory(app.Name, "viewer") {
		if kindOf(object) == "AppRoleBinding" {
			continue // the controller removes a binding that no user earned: TestHandMadeBinding
		}
		must(t, n.admin.Create(t.Context(), object))
		defer n.release(t, object)
		objects[kindOf(object)] = object
	}
	for _, edit := range []struct{ name, kind, patch string }{
		{"a user's roles", "User", `{"spec":{"roles":[{"value":"root"}]}}`},
		{"a user's attribute", "User", `{"spec":{"attributes":{"role":"root"}}}`},
		{"a user's name", "User", `{"spec":{"userName":"root","userNameKey":"root"}}`},
		{"a user's other id", "User", `{"spec":{"externalId":"root"}}`},
		{"whether a user is active", "User", `{"spec":{"active":false}}`},
		{"suspension and more", "User", `{"spec":{"suspended":true,"title":"root"}}`},
		{"a group's members", "Group", `{"spec":{"members":["somebody"]}}`},
		{"a group's name", "Group", `{"spec":{"displayName":"Root","displayNameKey":"root"}}`},
		{"a shard's members", "MemberShard", `{"spec":{"members":["somebody"]}}`},
		{"a claim", "NameClaim", `{"spec":{"touches":7}}`},
		{"the revoked users", "RevocationList", `{"spec":{"entries":"2100-01-01T00:00:00Z\tokta:root\n"}}`},
	} {
		t.Run(edit.name, func(t *testing.T) {
			refusedBy(t, n.client.Patch(t.Context(), copyOf(objects[edit.kind]), mergePatch(edit.patch)), writersPolicy)
			must(t, client.NewDryRunClient(n.admin).Patch(t.Context(), copyOf(objects[edit.kind]), mergePatch(edit.patch)))
		})
	}
	for _, suspended := range []string{"true", "false", "null"} {
		must(t, n.client.Patch(t.Context(), copyOf(objects["User"]), mergePatch(`{"spec":{"suspended":`+suspended+`}}`)))
	}
	for kind, patch := range map[string]string{
		"User":  `{"status":{"kubernetesUsername":"okta:root","reservedKey":"mallory"}}`,
		"Group": `{"status":{"reservedKey":"admins","roles":["root"]}}`,
	} {
		refusedBy(t, n.client.Status().Patch(t.Context(), copyOf(objects[kind]), mergePatch(patch)), writersPolicy, "written by the controller alone")
		must(t, client.NewDryRunClient(n.admin).Status().Patch(t.Context(), copyOf(objects[kind]), mergePatch(patch)))
	}
	refusedBy(t, n.client.Status().Patch(t.Context(), app.DeepCopy(), mergePatch(`{"status":{"users":7}}`)), writersPolicy, "status of apps")
}

// Nothing that deletes is stopped: a namespace with a directory ends, and an owner's deletion spreads.
func TestNamespaceEnds(t *testing.T) {
	operator.ShowOnFailure(t)
	n := newTenant(t)
	person := n.provision(t, "leaver")
	must(t, n.client.Get(t.Context(), client.ObjectKey{Namespace: n.namespace, Name: person.id}, &v1alpha1.User{}))
	// What belongs to a deleted owner is collected; what is deleted in the foreground waits for that.
	owner := configMap(n.namespace, "owner")
	must(t, n.client.Create(t.Context(), owner))
	owned := &v1alpha1.Group{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "owned-aaaaaaaaaa", OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID,
		}}},
		Spec: v1alpha1.GroupSpec{App: "own", DisplayName: "Owned", DisplayNameKey: "owned"},
	}
	must(t, n.admin.Create(t.Context(), owned))
	must(t, n.client.Delete(t.Context(), owner, client.PropagationPolicy(metav1.DeletePropagationForeground)))
	gone(t, owned)
	alone := &v1alpha1.Group{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "alone-aaaaaaaaaa"},
		Spec:       v1alpha1.GroupSpec{App: "own", DisplayName: "Alone", DisplayNameKey: "alone"},
	}
	must(t, n.admin.Create(t.Context(), alone))
	must(t, n.client.Delete(t.Context(), alone, client.PropagationPolicy(metav1.DeletePropagationForeground)))
	gone(t, alone)

	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.namespace}}
	must(t, n.admin.Delete(t.Context(), namespace))
	gone(t, namespace)
}

// gone waits until an object is.
func gone(t *testing.T, object client.Object) {
	t.Helper()
	harness.Eventually(t, patience, "the end of "+object.GetName(), func(ctx context.Context) error {
		err := operator.Env.Client.Get(ctx, client.ObjectKeyFromObject(object), copyOf(object))
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there (%w)", err)
	})
}
