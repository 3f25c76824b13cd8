package security_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const revokedPolicy = "scim-operator-revoked"

func keyOf(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

// listOf is an empty RevocationList of an App, as the controller writes it.
func listOf(namespace, app string) *v1alpha1.RevocationList {
	return &v1alpha1.RevocationList{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: localoperator.Namespace, Name: v1alpha1.RevocationListName(keyOf(namespace, app)),
		},
		Spec: v1alpha1.RevocationListSpec{App: v1alpha1.RevocationListApp{Namespace: namespace, Name: app}},
	}
}

// revoke puts people on the list of an App that there is not, by the administrator's hand, and takes them off it at the end.
func revoke(t testing.TB, users ...string) (release func()) {
	t.Helper()
	return revokeFor(t, "test", users...)
}

func revokeFor(t testing.TB, app string, users ...string) (release func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	edit := func(change func(map[string]time.Time)) error {
		return retry.OnError(retry.DefaultBackoff, func(err error) bool { return !apierrors.IsInvalid(err) }, func() error {
			list := listOf("nowhere", app)
			err := operator.Env.Client.Get(ctx, client.ObjectKeyFromObject(list), list)
			if client.IgnoreNotFound(err) != nil {
				return err
			}
			listed := list.Spec.Users()
			change(listed)
			list.Spec.SetUsers(listed)
			if err != nil {
				return operator.Env.Client.Create(ctx, list)
			}
			return operator.Env.Client.Update(ctx, list)
		})
	}
	must(t, edit(func(listed map[string]time.Time) {
		for _, user := range users {
			listed[user] = time.Now().Add(time.Hour)
		}
	}))
	release = func() {
		must(t, edit(func(listed map[string]time.Time) {
			for _, user := range users {
				delete(listed, user)
			}
		}))
	}
	t.Cleanup(release)
	return release
}

// mayEdit gives a user edit in the tenant's namespace.
func (n *tenant) mayEdit(t testing.TB, user string) client.Client {
	t.Helper()
	must(t, n.admin.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, GenerateName: "edit-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}))
	c := asUser(t, user)
	harness.Eventually(t, patience, "the right to edit of "+user, func(ctx context.Context) error {
		return c.Create(ctx, configMap(n.namespace, "probe"), client.DryRunAll)
	})
	return c
}

// Whatever else gives a user access, a user on the list writes nothing, deletes nothing and connects to nothing.
func TestRevokedPeopleAreDenied(t *testing.T) {
	n := newTenant(t)
	existing := configMap(n.namespace, "existing")
	must(t, n.admin.Create(t.Context(), existing))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "pod"},
		Spec:       corev1.PodSpec{NodeName: "none", Containers: []corev1.Container{{Name: "c", Image: "c"}}},
	}
	must(t, n.admin.Create(t.Context(), pod))
	for name, groups := range map[string][]string{"by bindings": nil, "with groups": {"staff"}} {
		t.Run(name, func(t *testing.T) {
			c := asUser(t, n.user, groups...)
			config, err := operator.Env.ControlPlane.UserConfig(n.user, groups...)
			must(t, err)
			clientset := kubernetes.NewForConfigOrDie(config)
			connect := func(ctx context.Context) error {
				return clientset.CoreV1().RESTClient().Post().Namespace(n.namespace).Resource("pods").Name(pod.Name).SubResource("exec").
					Param("command", "true").Param("stdout", "true").Do(ctx).Error()
			}
			requests := map[string]func(context.Context) error{
				"create": func(ctx context.Context) error { return c.Create(ctx, configMap(n.namespace, "new"), client.DryRunAll) },
				"update": func(ctx context.Context) error {
					return c.Patch(ctx, existing.DeepCopy(), mergePatch(`{"data":{"a":"b"}}`))
				},
				"delete":  func(ctx context.Context) error { return c.Delete(ctx, existing.DeepCopy(), client.DryRunAll) },
				"connect": connect,
			}
			for name, request := range requests {
				if err := request(t.Context()); apierrors.IsForbidden(err) {
					t.Fatalf("%s is forbidden before the revocation: %v", name, err)
				}
			}
			release := revoke(t, n.user, "okta:somebody")
			n.refusedSoon(t, revokedPolicy, requests["create"])
			for name, request := range requests {
				t.Run(name, func(t *testing.T) {
					refusedBy(t, request(t.Context()), revokedPolicy, n.user, "was revoked by the identity provider")
				})
			}
			must(t, n.admin.Create(t.Context(), configMap(n.namespace, "others"), client.DryRunAll))
			release()
			harness.Eventually(t, patience, "the end of the revocation", requests["create"])
		})
	}
}

// A list that names the system's own users would stop the cluster, and one that names its administrators would keep them
// from mending it: both are let through.
func TestSystemIsNeverRevoked(t *testing.T) {
	n := newTenant(t)
	system, root := "system:serviceaccount:"+n.namespace+":robot", n.namespace+":root"
	robot := n.mayEdit(t, system)
	revoke(t, system, root, n.user)
	n.refusedSoon(t, revokedPolicy, func(ctx context.Context) error {
		return n.client.Create(ctx, configMap(n.namespace, "new"), client.DryRunAll)
	})
	must(t, robot.Create(t.Context(), configMap(n.namespace, "new")))
	must(t, asUser(t, root, "system:masters").Create(t.Context(), configMap(n.namespace, "other")))
}

// Only lists that are called after their App count, as those of the controller are, not others beside them.
func TestOtherListsMeanNothing(t *testing.T) {
	n := newTenant(t)
	for _, list := range []*v1alpha1.RevocationList{listOf(n.namespace, "own"), listOf("nowhere", "test")} {
		list.Name, list.GenerateName = "", "revoked-"
		list.Spec.SetUsers(map[string]time.Time{n.user: time.Now().Add(time.Hour)})
		must(t, n.admin.Create(t.Context(), list))
	}
	marker := n.mayEdit(t, "okta:marker")
	n.refusedSoon(t, revokedPolicy, func(ctx context.Context) error {
		revoke(t, "okta:marker") // a controller that starts deletes the list of an App that does not exist
		return marker.Create(ctx, configMap(n.namespace, "marker"), client.DryRunAll)
	})
	must(t, n.client.Create(t.Context(), configMap(n.namespace, "new")))
}

// No trouble with the list may stop the writes of other users.
func TestWritesGoOnWithoutAnyList(t *testing.T) {
	n := newTenant(t)
	lists := &v1alpha1.RevocationListList{}
	must(t, n.admin.List(t.Context(), lists, client.InNamespace(localoperator.Namespace)))
	for i := range lists.Items {
		must(t, client.IgnoreNotFound(n.admin.Delete(t.Context(), &lists.Items[i])))
	}
	for i := range 20 {
		must(t, n.client.Create(t.Context(), configMap(n.namespace, fmt.Sprint("write-", i))))
	}
}
