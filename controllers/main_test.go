package controllers_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/test/testenv"
)

var env *testenv.Env

func TestMain(m *testing.M) {
	level := slog.LevelError
	if os.Getenv("TEST_LOG") != "" {
		level = slog.LevelInfo
	}
	logger := logr.FromSlogHandler(&repairs{Handler: slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})})
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	testenv.Main(m, &env, testenv.Options{})
}

// deadline of what the controllers are to bring about. They need milliseconds; a busy machine may need more.
const deadline = 60 * time.Second

// world is one directory: a namespace of its own, with an App, and the controllers that serve it alone.
type world struct {
	*testing.T
	ctx       context.Context
	namespace string
	app       *v1alpha1.App
	// config of the controllers' own credentials.
	config *rest.Config
	// operatorNamespace holds the RevocationList; empty for the default.
	operatorNamespace string
	// others are namespaces of further directories that the same controllers serve.
	others []string
	// elect has the controllers elect a leader, by the Lease that config/rbac names.
	elect bool
	stop  func()
	// done tells how the controllers ended.
	done <-chan error
}

// newWorld makes a directory and starts its controllers, with the rights that config/rbac grants and nothing else.
func newWorld(t *testing.T, change func(*v1alpha1.AppSpec)) *world {
	t.Helper()
	w := newStoppedWorld(t, change)
	w.start()
	return w
}

func newStoppedWorld(t *testing.T, change func(*v1alpha1.AppSpec)) *world {
	t.Helper()
	config, err := env.ControlPlane.UserConfig("system:serviceaccount:scim-operator-system:scim-operator-controller",
		"system:serviceaccounts", "system:serviceaccounts:scim-operator-system", "system:authenticated")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, ctx: t.Context(), namespace: env.Namespace(t, nil), config: config, stop: func() {}}
	w.app = &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "demo"},
		Spec: v1alpha1.AppSpec{
			RoleAssignment: v1alpha1.RoleAssignment{FromAttributes: []string{"role", "roles"}, Default: []string{"viewer"}},
			Roles: []v1alpha1.Role{
				{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: bindable("get")}}},
				{Name: "admin", Grants: []v1alpha1.Grant{{ClusterRole: bindable("get")}, {ClusterRole: bindable("delete")}}},
			},
		},
	}
	if change != nil {
		change(&w.app.Spec)
	}
	w.create(w.app)
	return w
}

// start runs the controllers until the test ends or stop is called.
func (w *world) start() {
	w.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	mgr, err := controllers.NewManager(ctx, w.config, controllers.Options{
		Logger: ctrl.Log, Metrics: metricsserver.Options{BindAddress: "0"},
		Namespaces: append([]string{w.namespace}, w.others...), OperatorNamespace: w.operatorNamespace, SkipNameValidation: true,
		LeaderElect: w.elect, LeaderElectNamespace: controllers.DefaultOperatorNamespace,
	})
	if err != nil {
		cancel()
		w.Fatal(err)
	}
	done := make(chan error, 1)
	w.done = done
	go func() { done <- mgr.Start(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("manager: %v", err)
		}
		w.stop = func() {}
	}
	w.Cleanup(func() { w.stop() })
}

// bindable makes, once, a cluster role that allows one verb on ConfigMaps, and the controller's right to bind it.
func bindable(verb string) string {
	name := "test-configmaps-" + verb
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{verb}},
	}}
	binder := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name + "-bind"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{name}, Verbs: []string{"bind"}},
	}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-bind"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: binder.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "scim-operator-system", Name: "scim-operator-controller"}},
	}
	for _, object := range []client.Object{role, binder, binding} {
		if err := env.Client.Create(context.Background(), object); err != nil && !apierrors.IsAlreadyExists(err) {
			panic(err)
		}
	}
	return name
}

func (w *world) create(object client.Object) {
	w.Helper()
	if err := env.Client.Create(w.ctx, object); err != nil {
		w.Fatal(err)
	}
}

var userCount atomic.Int64

// newUser returns an active user, not written yet.
func (w *world) newUser(userName, attributes string) *v1alpha1.User {
	user := &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fmt.Sprintf("user-%d", userCount.Add(1)), Finalizers: []string{v1alpha1.FinalizerAccess}},
		Spec: v1alpha1.UserSpec{
			App: w.app.Name, UserName: userName, UserNameKey: claims.Key(userName), Active: true,
			CreatedAt: &metav1.MicroTime{Time: time.Now()},
		},
	}
	if attributes != "" {
		user.Spec.Attributes = &runtime.RawExtension{Raw: []byte(attributes)}
	}
	return user
}

// provision writes a user as the server does: the User, then the claim.
func (w *world) provision(user *v1alpha1.User) *v1alpha1.User {
	w.Helper()
	w.create(user)
	w.claim(user)
	return user
}

func (w *world) claim(user *v1alpha1.User) {
	w.Helper()
	w.create(w.claimOf(user))
}

func (w *world) claimOf(user *v1alpha1.User) *v1alpha1.NameClaim {
	return &v1alpha1.NameClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: claims.Name(user.Spec.App, v1alpha1.ClaimUserName, user.Spec.UserNameKey)},
		Spec: v1alpha1.NameClaimSpec{
			App: user.Spec.App, Attribute: v1alpha1.ClaimUserName, Value: user.Spec.UserNameKey, Holder: user.Name,
		},
	}
}

// update changes an object as often as it takes.
func update[T client.Object](w *world, object T, change func(T)) {
	w.Helper()
	for {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			w.Fatal(err)
		}
		change(object)
		err := env.Client.Update(w.ctx, object)
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			w.Fatal(err)
		}
	}
}

// eventually waits until check returns "".
func (w *world) eventually(check func() string) {
	w.Helper()
	end := time.Now().Add(deadline)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("after %v: %s", deadline, problem)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// can asks the API server's authorizer.
func (w *world) can(subject, verb, namespace string) bool {
	w.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               subject,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Resource: "configmaps"},
	}}
	if err := env.Client.Create(w.ctx, review); err != nil {
		w.Fatal(err)
	}
	return review.Status.Allowed
}

func (w *world) eventuallyCan(subject, verb, namespace string, want bool) {
	w.Helper()
	w.eventually(func() string {
		if got := w.can(subject, verb, namespace); got != want {
			return fmt.Sprintf("can %s %s in %s = %v", subject, verb, namespace, got)
		}
		return ""
	})
}

// eventuallyCondition waits for a condition of a user's current generation.
func (w *world) eventuallyCondition(object client.Object, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	w.Helper()
	var found metav1.Condition
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(conditionsOf(object), kind)
		if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != object.GetGeneration() {
			return fmt.Sprintf("condition %s = %+v at generation %d, want %s %s", kind, c, object.GetGeneration(), status, reason)
		}
		found = *c
		return ""
	})
	return found
}

// eventuallyReserved waits until the status says that the claim of the user's name names the user.
func (w *world) eventuallyReserved(user *v1alpha1.User) {
	w.Helper()
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			return err.Error()
		}
		if !user.IsNameReserved() || user.Status.ObservedGeneration != user.Generation {
			return fmt.Sprintf("status = %+v at generation %d, want the name reserved", user.Status, user.Generation)
		}
		return ""
	})
	w.eventuallyWithout(user, v1alpha1.ConditionNameReserved)
}

// eventuallyWithout waits until the status speaks of the object's generation without a condition.
func (w *world) eventuallyWithout(user *v1alpha1.User, kind string) {
	w.Helper()
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(user), user); err != nil {
			return err.Error()
		}
		if c := meta.FindStatusCondition(user.Status.Conditions, kind); c != nil || user.Status.ObservedGeneration != user.Generation {
			return fmt.Sprintf("condition %s = %+v at generation %d, want none", kind, c, user.Generation)
		}
		return ""
	})
}

func conditionsOf(object client.Object) []metav1.Condition {
	switch object := object.(type) {
	case *v1alpha1.User:
		return object.Status.Conditions
	case *v1alpha1.App:
		return object.Status.Conditions
	case *v1alpha1.Group:
		return object.Status.Conditions
	case *v1alpha1.ScimToken:
		return object.Status.Conditions
	case *v1alpha1.AppRoleBinding:
		return object.Status.Conditions
	}
	panic(fmt.Sprintf("no conditions: %T", object))
}

func (w *world) eventuallyGranted(user *v1alpha1.User) {
	w.Helper()
	w.eventuallyCondition(user, v1alpha1.ConditionAccessGranted, metav1.ConditionTrue, v1alpha1.ReasonGranted)
}

// bindings returns the AppRoleBindings of the directory.
func (w *world) bindings() []v1alpha1.AppRoleBinding {
	w.Helper()
	var list v1alpha1.AppRoleBindingList
	if err := env.Client.List(w.ctx, &list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	return list.Items
}

// natives returns the RoleBindings of the directory's Apps in all namespaces.
func (w *world) natives() []rbacv1.RoleBinding {
	w.Helper()
	var list rbacv1.RoleBindingList
	if err := env.Client.List(w.ctx, &list, client.MatchingLabels{v1alpha1.LabelAppNamespace: w.namespace}); err != nil {
		w.Fatal(err)
	}
	return list.Items
}

func (w *world) namespaceObject(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func (w *world) createNamespace(name string) {
	w.Helper()
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

func matchingApp(w *world) client.ListOption {
	return client.MatchingLabels{v1alpha1.LabelAppNamespace: w.namespace}
}
