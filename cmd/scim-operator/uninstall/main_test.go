package uninstall

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/testenv"
)

var env *testenv.Env

func TestMain(m *testing.M) { testenv.Main(m, &env, testenv.Options{ControllerManager: true}) }

const (
	// patience is long, for a busy machine; short, which is waited out, is for what never ends.
	patience = time.Minute
	short    = 3 * time.Second
	// namespaceLimit bounds the end of the operator's namespace, which the last test deleted.
	namespaceLimit = time.Minute
)

// population is what one test puts into the cluster.
type population struct {
	namespace string
	leaver    *v1alpha1.User
	// marked, cluster and stray give the person team-a's role: by labels, in the whole cluster, and without labels.
	marked, stray *rbacv1.RoleBinding
	cluster       *rbacv1.ClusterRoleBinding
	// foreign is a binding by other hands.
	foreign *rbacv1.RoleBinding
}

const person = "okta:jane@example.com"

// populate installs the operator and makes an App with one user that has access in every way there is.
func populate(t *testing.T) *population {
	t.Helper()
	awaitNamespaceGone(t)
	if err := localoperator.Install(t.Context(), env.Config, config.FS); err != nil {
		t.Fatal(err)
	}
	p := &population{namespace: env.Namespace(t, nil)}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: p.namespace, Name: name} }
	app := &v1alpha1.App{ObjectMeta: meta("hr"), Spec: v1alpha1.AppSpec{DeletionPolicy: v1alpha1.DeletionPolicyDelete}}
	app.Finalizers = []string{v1alpha1.FinalizerApp}
	p.leaver = &v1alpha1.User{ObjectMeta: meta("jane-aaaaaaaaaa"), Spec: v1alpha1.UserSpec{App: "hr", UserName: "jane@example.com", UserNameKey: "jane@example.com", Active: true}}
	p.leaver.Finalizers = []string{v1alpha1.FinalizerAccess}
	chunk := &v1alpha1.AppRoleBinding{ObjectMeta: meta("hr-viewer-0"), Spec: v1alpha1.AppRoleBindingSpec{
		App: "hr", RoleRef: v1alpha1.AppRoleRef{Name: "viewer"}, Scope: "default", Subjects: []v1alpha1.AppRoleSubject{{User: p.leaver.Name, Name: person}},
	}}
	chunk.Finalizers = []string{v1alpha1.FinalizerBindings}
	claim := &v1alpha1.NameClaim{ObjectMeta: meta("claim"), Spec: v1alpha1.NameClaimSpec{App: "hr", Attribute: v1alpha1.ClaimUserName, Value: "jane@example.com", Holder: p.leaver.Name}}
	group := &v1alpha1.Group{ObjectMeta: meta("staff-aaaaaaaaaa"), Spec: v1alpha1.GroupSpec{App: "hr", DisplayName: "Staff", DisplayNameKey: "staff", Members: []string{p.leaver.Name}}}
	view := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}
	edit := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"}
	labels := map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue, v1alpha1.LabelApp: "hr", v1alpha1.LabelAppNamespace: p.namespace}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: person}}
	p.marked = &rbacv1.RoleBinding{ObjectMeta: meta(approlebinding.NativeName(chunk, view)), RoleRef: view, Subjects: subjects}
	p.marked.Labels = labels
	p.stray = &rbacv1.RoleBinding{ObjectMeta: meta(approlebinding.NativeName(chunk, edit)), RoleRef: edit, Subjects: subjects}
	p.cluster = &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: approlebinding.NativeName(chunk, view), Labels: labels}, RoleRef: view, Subjects: subjects}
	p.foreign = &rbacv1.RoleBinding{ObjectMeta: meta("by-hand"), RoleRef: view, Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "okta:eve@example.com"}}}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: localoperator.Namespace, Name: "scim-operator-controller", Labels: map[string]string{partOf: partOfValue}}, Spec: appsv1.DeploymentSpec{
		Replicas: ptr.To(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "none"}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "none"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
	}}
	for _, object := range []client.Object{app, p.leaver, chunk, claim, group, p.marked, p.stray, p.cluster, p.foreign, deployment} {
		if err := env.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	label(t)
	return p
}

// awaitNamespaceGone waits for the end of a namespace that is being deleted.
func awaitNamespaceGone(t *testing.T) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		namespace := &corev1.Namespace{}
		err := env.Client.Get(t.Context(), client.ObjectKey{Name: localoperator.Namespace}, namespace)
		if apierrors.IsNotFound(err) || err == nil && namespace.DeletionTimestamp.IsZero() {
			return
		}
		if time.Since(begun) > namespaceLimit {
			t.Fatalf("namespace %s does not end: %v, %+v", localoperator.Namespace, err, namespace.Status.Conditions)
		}
	}
}

// label marks the policies and RBAC that hack/localoperator installs as config/default does.
func label(t *testing.T) {
	t.Helper()
	for _, kind := range installed[4:13] {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		list.Kind += "List"
		if err := env.Client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			object := &list.Items[i]
			object.SetGroupVersionKind(kind)
			if !strings.HasPrefix(object.Name, "scim-operator-") {
				continue
			}
			before := object.DeepCopy()
			object.Labels = map[string]string{partOf: partOfValue}
			if err := env.Client.Patch(t.Context(), object, client.MergeFrom(before)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// may asks the API server itself.
func may(t *testing.T, user, namespace string) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "configmaps", Namespace: namespace},
	}}
	if err := env.Client.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// cut fails every write after so many, as an interrupted process does.
type cut struct {
	next  http.RoundTripper
	left  *atomic.Int64
	tells func(request *http.Request)
}

func (c cut) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet && !strings.Contains(request.URL.Path, "accessreviews") {
		if c.left.Add(-1) < 0 {
			return nil, fmt.Errorf("cut off before %s %s", request.Method, request.URL.Path)
		}
		c.tells(request)
	}
	return c.next.RoundTrip(request)
}

func cutConfig(writes int64, tells func(*http.Request)) *rest.Config {
	left := &atomic.Int64{}
	left.Store(writes)
	cfg := rest.CopyConfig(env.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return cut{next: next, left: left, tells: tells} })
	return cfg
}

func newUninstaller(t *testing.T, cfg *rest.Config, out *strings.Builder) *Uninstaller {
	t.Helper()
	u, err := New(cfg, out, patience)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// nothingLeft fails the test unless no object, binding, kind, policy or role of the operator is there.
func nothingLeft(t *testing.T, p *population) {
	t.Helper()
	u := newUninstaller(t, env.Config, &strings.Builder{})
	inventory, err := u.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	objects := 0
	for _, count := range inventory.Objects {
		objects += count
	}
	if objects+inventory.Bindings+len(inventory.Deployments) > 0 {
		t.Errorf("there is still %+v", inventory)
	}
	for _, kind := range installed[:13] {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		list.Kind += "List"
		if err := env.Client.List(t.Context(), list, ofInstallation()); err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			t.Errorf("%s %s is still there", kind.Kind, list.Items[i].Name)
		}
	}
	if err := env.Client.Get(context.WithoutCancel(t.Context()), client.ObjectKeyFromObject(p.foreign), p.foreign); err != nil {
		t.Errorf("a binding by other hands: %v", err)
	}
}
