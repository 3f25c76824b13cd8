package controllers_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers"
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

// deadline of what the controllers are to bring about. They need milliseconds; a busy machine, or the race detector, may need more.
const deadline = 3 * time.Minute

// world is one directory and the controllers that serve it alone.
type world struct {
	directory
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
	w := &world{directory: newDirectory(t), config: config, stop: func() {}}
	if change != nil {
		change(&w.app.Spec)
	}
	w.create(w.app)
	return w
}

// with returns the same world for a subtest.
func (w *world) with(t *testing.T) *world {
	sub := *w
	sub.T = t
	return &sub
}

// start runs the controllers until the test ends or stop is called.
func (w *world) start() {
	w.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	mgr, err := controllers.NewManager(ctx, w.config, controllers.Options{
		Logger: ctrl.Log, Metrics: metricsserver.Options{BindAddress: "0"},
		Namespaces: append([]string{w.namespace}, w.others...), OperatorNamespace: w.operatorNamespace, SkipNameValidation: true,
		LeaderElect: w.elect, LeaderElectNamespace: controllers.DefaultOperatorNamespace, PolicyGrace: -1,
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

func matchingApp(w *world) client.ListOption {
	return client.MatchingLabels{v1alpha1.LabelAppNamespace: w.namespace}
}
