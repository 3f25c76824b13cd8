package controlplane_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/scim-operator/scim-operator/hack/controlplane"
)

func start(t *testing.T, options controlplane.Options) *controlplane.ControlPlane {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, err := controlplane.Start(ctx, withBinaries(t, options))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func withBinaries(t *testing.T, options controlplane.Options) controlplane.Options {
	t.Helper()
	var err error
	if options.BinDir, err = controlplane.Ensure(t.Context(), os.Stderr); err != nil {
		t.Fatal(err)
	}
	return options
}

func client(t *testing.T, c *controlplane.ControlPlane) *kubernetes.Clientset {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	return clientset
}

func TestDataOutlivesRestarts(t *testing.T) {
	ctx := t.Context()
	options := controlplane.Options{DataDir: t.TempDir(), UnsafeNoFsync: true}
	c := start(t, options)
	created, err := client(t, c).CoreV1().ConfigMaps("default").Create(ctx,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := c.Kubeconfig("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}

	if inUse, err := controlplane.InUse(options.DataDir); err != nil || !inUse {
		t.Fatalf("InUse while running: %t, error %v", inUse, err)
	}
	if _, err := controlplane.Start(ctx, withBinaries(t, options)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("a second control plane on the same data: error %v, want one that says in use", err)
	}

	if err := c.RestartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := client(t, c).CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{}); err != nil || got.UID != created.UID {
		t.Fatalf("after the API server's restart: uid %v, error %v, want uid %v", got.UID, err, created.UID)
	}

	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if inUse, err := controlplane.InUse(options.DataDir); err != nil || inUse {
		t.Fatalf("InUse after the stop: %t, error %v", inUse, err)
	}
	start(t, options)
	// The kubeconfig from before the stop: same address, same certificate authority.
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	got, err := kubernetes.NewForConfigOrDie(config).CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{})
	if err != nil || got.UID != created.UID {
		t.Fatalf("after a second start: uid %v, error %v, want uid %v", got.UID, err, created.UID)
	}
}

func TestTemporaryDirectoryIsRemovedAndRBACHolds(t *testing.T) {
	c := start(t, controlplane.Options{UnsafeNoFsync: true})
	stranger, err := c.UserConfig("stranger")
	if err != nil {
		t.Fatal(err)
	}
	_, err = kubernetes.NewForConfigOrDie(stranger).CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Fatalf("a user without any role lists ConfigMaps: error %v, want Forbidden", err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Dir()); !os.IsNotExist(err) {
		t.Fatalf("the temporary directory %s is still there: %v", c.Dir(), err)
	}
}

func TestStartTellsWhyItFailed(t *testing.T) {
	ctx := t.Context()
	c, err := controlplane.Start(ctx, withBinaries(t, controlplane.Options{UnsafeNoFsync: true, APIServerArgs: []string{"--no-such-flag"}}))
	if err == nil {
		t.Fatal(c.Stop(), "started with a flag that does not exist")
	}
	if want := "unknown flag: --no-such-flag"; !strings.Contains(err.Error(), want) {
		t.Fatalf("error %q does not contain %q", err, want)
	}
}

// What only kube-controller-manager does: fill an aggregated role, end a namespace.
func TestControllerManager(t *testing.T) {
	ctx := t.Context()
	binary, err := controlplane.EnsureControllerManager(ctx, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, controlplane.Options{UnsafeNoFsync: true})
	if err := c.StartControllerManager(ctx, binary); err != nil {
		t.Fatal(err)
	}
	clientset := client(t, c)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "short-lived"}}
	if _, err := clientset.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := clientset.CoreV1().Namespaces().Delete(ctx, namespace.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		view, err := clientset.RbacV1().ClusterRoles().Get(ctx, "view", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		_, err = clientset.CoreV1().Namespaces().Get(ctx, namespace.Name, metav1.GetOptions{})
		return len(view.Rules) > 0 && apierrors.IsNotFound(err), nil
	})
	if err != nil {
		t.Fatalf("the role view is empty or the namespace still there: %v", err)
	}
}
