package authorizer_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
	"github.com/scim-operator/scim-operator/test/testenv"
)

// limit is generous, for a busy machine; what is promised is checked by its own figure.
const limit = time.Minute

// directory is an App with people that a foreign ClusterRoleBinding lets read everything.
type directory struct {
	*testing.T
	namespace, prefix string
	scim              *okta.Client
}

func newDirectory(t *testing.T, denyRequests bool) *directory {
	t.Helper()
	d := &directory{T: t, namespace: cluster.Namespace(t, nil)}
	d.prefix = d.namespace + ":"
	text, err := token.New()
	if err != nil {
		t.Fatal(err)
	}
	app := &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: "staff"},
		Spec: v1alpha1.AppSpec{
			Kubernetes:   v1alpha1.KubernetesMapping{UsernamePrefix: &d.prefix},
			Deactivation: v1alpha1.Deactivation{DenyRequests: denyRequests},
			// A RevocationList names people that the App bound.
			RoleAssignment: v1alpha1.RoleAssignment{Default: []string{"viewer"}},
			Roles:          []v1alpha1.Role{{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: "view"}}}},
		},
	}
	if err := cluster.Client.Create(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if err := cluster.CreateToken(t.Context(), &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: "staff"},
		Spec:       v1alpha1.ScimTokenSpec{App: "staff", Digest: token.Digest(text)},
	}); err != nil {
		t.Fatal(err)
	}
	d.scim = okta.New(cluster.server.URL+"/scim/v2", "Bearer "+text, okta.Template)
	t.Cleanup(d.scim.Close)
	harness.Eventually(t, limit, "the token", func(ctx context.Context) error {
		_, err := d.scim.TestConnection(ctx, false)
		return err
	})
	return d
}

// person is a provisioned user, with a binding by another hand.
type person struct {
	*okta.Assignment
	client kubernetes.Interface
}

func (d *directory) provision(name string) *person {
	d.Helper()
	p := &person{Assignment: okta.Assign(okta.NewProfile(name + "@example.com"))}
	if _, err := d.scim.Create(d.Context(), p.Assignment); err != nil {
		d.Fatal(err)
	}
	harness.Eventually(d, limit, "the binding of the App", func(ctx context.Context) error {
		user := &v1alpha1.User{}
		err := cluster.Client.Get(ctx, types.NamespacedName{Namespace: d.namespace, Name: p.ID}, user)
		if err == nil && user.Status.BoundAs == "" {
			err = fmt.Errorf("the status is %+v", user.Status)
		}
		return err
	})
	p.client = d.bind(d.prefix + p.Profile.UserName)
	d.eventuallyReads(p, true)
	return p
}

// bind lets a Kubernetes user read and write ConfigMaps, and returns their client.
func (d *directory) bind(subject string) kubernetes.Interface {
	d.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "test-by-hand"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}},
	}}
	if err := cluster.Client.Create(d.Context(), role); err != nil && !apierrors.IsAlreadyExists(err) {
		d.Fatal(err)
	}
	if err := cluster.Client.Create(d.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-by-hand-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: subject}},
	}); err != nil {
		d.Fatal(err)
	}
	credentials, err := cluster.ControlPlane.UserConfig(subject)
	if err != nil {
		d.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(credentials)
	if err != nil {
		d.Fatal(err)
	}
	return client
}

func reads(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{Limit: 1})
	return err
}

// eventuallyReads waits until a user reads, or is refused, and returns what the refusal says.
func (d *directory) eventuallyReads(p *person, want bool) (refusal string) {
	d.Helper()
	harness.Eventually(d, limit, fmt.Sprintf("that %s reads: %v", p.Profile.UserName, want), func(ctx context.Context) error {
		err := reads(ctx, p.client)
		switch {
		case want:
			return err
		case err == nil:
			return fmt.Errorf("they read")
		case !apierrors.IsForbidden(err):
			return err
		}
		refusal = err.Error()
		return nil
	})
	return refusal
}

// A leaver is denied reads within a second, whatever binding is left, and reads again within a second when they are back.
func TestDeniedEverything(t *testing.T) {
	d := newDirectory(t, true)
	jane, john := d.provision("jane"), d.provision("john")
	var back []time.Duration
	testenv.MostlyWithin(t, "from a deactivation that is sent to a denial", time.Second, 4, func() time.Duration {
		begin := time.Now()
		if _, err := d.scim.Deactivate(t.Context(), jane.Assignment); err != nil {
			t.Fatal(err)
		}
		refusal := d.eventuallyReads(jane, false)
		took := time.Since(begin)
		if !strings.Contains(refusal, "revoked by the identity provider") {
			t.Errorf("refused with %q", refusal)
		}
		// For as long as they are inactive, not only at first; and no other user.
		for range 20 {
			if err := reads(t.Context(), jane.client); !apierrors.IsForbidden(err) {
				t.Fatalf("inactive, and reads: %v", err)
			}
			if err := reads(t.Context(), john.client); err != nil {
				t.Fatalf("another user: %v", err)
			}
		}
		begin = time.Now()
		if _, err := d.scim.Reactivate(t.Context(), jane.Assignment); err != nil {
			t.Fatal(err)
		}
		d.eventuallyReads(jane, true)
		back = append(back, time.Since(begin))
		return took
	})
	if median := slices.Sorted(slices.Values(back))[len(back)/2]; median > time.Second {
		t.Errorf("let in %v after the reactivation was sent: %v", median, back)
	}
}

// Once every role of a user has ended, everything is denied from that second on, though no controller takes the bindings away; once
// one does, what others bound counts again, as it does for every active user without a role.
func TestEndWithoutController(t *testing.T) {
	d := newDirectory(t, true)
	jane := d.provision("jane")
	end := time.Now().Add(20 * time.Second).Truncate(time.Second) // long enough for a busy machine to come to the controller's end
	app := &v1alpha1.App{}
	if err := cluster.Client.Get(t.Context(), types.NamespacedName{Namespace: d.namespace, Name: "staff"}, app); err != nil {
		t.Fatal(err)
	}
	before := app.DeepCopy()
	app.Spec.Roles[0].Until = &metav1.Time{Time: end}
	if err := cluster.Client.Patch(t.Context(), app, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	user := &v1alpha1.User{}
	harness.Eventually(t, limit, "the end in the status", func(ctx context.Context) error {
		err := cluster.Client.Get(ctx, types.NamespacedName{Namespace: d.namespace, Name: jane.ID}, user)
		if err == nil && (len(user.Status.Roles) != 1 || user.Status.Roles[0].Until == nil) {
			err = fmt.Errorf("roles %+v", user.Status.Roles)
		}
		return err
	})
	if err := cluster.controller.Stop(); err != nil {
		t.Fatal(err)
	}
	restart := func() {
		var err error
		if cluster.controller, err = localoperator.StartController(context.WithoutCancel(t.Context()),
			localoperator.ProcessOptions{Binary: cluster.binary, Kubeconfig: cluster.path("controller")}); err != nil {
			t.Error(err)
		}
	}
	restarted := false
	defer func() {
		if !restarted {
			restart()
		}
	}()
	for time.Now().Before(end.Add(-200 * time.Millisecond)) {
		if err := reads(t.Context(), jane.client); err != nil && time.Now().Before(end) {
			t.Fatalf("refused before the end: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	refusal := d.eventuallyReads(jane, false)
	if late := time.Since(end); late < 0 || late > 10*time.Second { // without a controller nothing else would deny it, ever
		t.Errorf("denied %s after the end", late)
	} else {
		t.Logf("denied %s after the end, without a controller", late)
	}
	if !strings.Contains(refusal, "or has ended") {
		t.Errorf("refused with %q", refusal)
	}
	restart()
	restarted = true
	d.eventuallyReads(jane, true)
	if err := cluster.Client.Get(t.Context(), types.NamespacedName{Namespace: d.namespace, Name: jane.ID}, user); err != nil || len(user.Status.Roles) > 0 {
		t.Errorf("let in, with the status %+v: %v", user.Status, err)
	}
}

// A deleted person has no User any more: the RevocationList names them.
func TestDeniedAfterDeletion(t *testing.T) {
	d := newDirectory(t, true)
	jane := d.provision("jane")
	answer, err := d.scim.Do(t.Context(), http.MethodDelete, "/Users/"+jane.ID, nil)
	if err != nil || answer.ExpectStatus(http.StatusNoContent) != nil {
		t.Fatal(err, answer)
	}
	d.eventuallyReads(jane, false)
	if _, err := d.scim.Create(t.Context(), okta.Assign(jane.Profile)); err != nil {
		t.Fatal(err)
	}
	d.eventuallyReads(jane, true)
}

// Apps that do not ask for it reach no further than their own bindings.
func TestNotDenied(t *testing.T) {
	d := newDirectory(t, false)
	jane := d.provision("jane")
	if _, err := d.scim.Deactivate(t.Context(), jane.Assignment); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := reads(t.Context(), jane.client); err != nil {
			t.Fatalf("of an App without denyRequests: %v", err)
		}
	}
}
