// Package testenv gives a test package one real API server with the operator's CRDs and RBAC
// installed: the tests' counterpart of `make run`, without the operator's processes.
//
// Start obtains and runs the control plane; Main does so for a whole package.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/controlplane"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/scheme"
)

// startTimeout bounds Start once the binaries are there.
const startTimeout = 3 * time.Minute

// Options change what Start does. The zero value is right for most packages.
type Options struct {
	// APIServerArgs are added to kube-apiserver's.
	APIServerArgs []string
	// ControllerManager runs kube-controller-manager too: garbage collection, the end of
	// namespaces, aggregated ClusterRoles. Its first build takes minutes.
	ControllerManager bool
}

// Env is a running API server with the operator installed.
type Env struct {
	// Config is the administrator's, without a client-side rate limit. Copy before changing.
	Config *rest.Config
	// Client is the administrator's: uncached, with the built-in kinds and the operator's.
	Client client.Client
	// Scheme holds the built-in kinds and the operator's.
	Scheme *runtime.Scheme
	// ControlPlane makes other users' credentials and restarts the API server.
	ControlPlane *controlplane.ControlPlane
	// Kubectl is the path of the kubectl that belongs to the API server.
	Kubectl string
}

// Main starts an environment, sets *env, runs the package's tests, stops the environment and
// exits:
//
//	var env *testenv.Env
//
//	func TestMain(m *testing.M) { testenv.Main(m, &env, testenv.Options{}) }
func Main(m *testing.M, env **Env, options Options) {
	os.Exit(run(m, env, options))
}

func run(m *testing.M, env **Env, options Options) (code int) {
	started, err := StartWith(context.Background(), options)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	*env = started
	return m.Run()
}

// Start runs an environment with the default options. The caller stops it. Errors are those of StartWith.
func Start(ctx context.Context) (*Env, error) { return StartWith(ctx, Options{}) }

// StartWith runs an environment. The caller stops it. It fails where the binaries cannot be had, the control plane does not
// start, or the operator's objects are refused; nothing runs then.
func StartWith(ctx context.Context, options Options) (*Env, error) {
	binDir, err := controlplane.Ensure(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	controllerManager := ""
	if options.ControllerManager {
		if controllerManager, err = controlplane.EnsureControllerManager(ctx, os.Stderr); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	plane, err := controlplane.Start(ctx, controlplane.Options{
		BinDir:        binDir,
		APIServerArgs: options.APIServerArgs,
		UnsafeNoFsync: true,
	})
	if err != nil {
		return nil, err
	}
	env, err := install(ctx, plane, controllerManager)
	if err != nil {
		return nil, errors.Join(err, plane.Stop())
	}
	return env, nil
}

func install(ctx context.Context, plane *controlplane.ControlPlane, controllerManager string) (*Env, error) {
	if controllerManager != "" {
		if err := plane.StartControllerManager(ctx, controllerManager); err != nil {
			return nil, err
		}
	}
	if err := localoperator.Install(ctx, plane.Config, config.FS); err != nil {
		return nil, err
	}
	kinds, err := scheme.New()
	if err != nil {
		return nil, err
	}
	c, err := client.New(plane.Config, client.Options{Scheme: kinds})
	if err != nil {
		return nil, err
	}
	return &Env{Config: plane.Config, Client: c, Scheme: kinds, ControlPlane: plane, Kubectl: plane.Kubectl()}, nil
}

// Stop ends the control plane and removes its data. The error joins what failed.
func (e *Env) Stop() error { return e.ControlPlane.Stop() }

// Namespace makes a namespace of its own for the test, with the labels, and returns its name.
// It is not deleted: it goes with the environment, and without kube-controller-manager a
// deleted namespace would stay as it is.
func (e *Env) Namespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	if err := e.Client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// AwaitPolicies returns once an API server that was restarted lets Apps and ScimTokens be written again: it may take half a
// minute to find the kinds that its admission policies read, and refuses what they are about until then.
// It fails where that takes longer.
func (e *Env) AwaitPolicies(ctx context.Context) error {
	return localoperator.Install(ctx, e.Config, config.FS)
}

// CreateToken makes a ScimToken and has its App, which must exist, list it. Errors are the API server's.
func (e *Env) CreateToken(ctx context.Context, token *v1alpha1.ScimToken) error {
	if err := e.Client.Create(ctx, token); err != nil {
		return err
	}
	return e.AcceptToken(ctx, token)
}

// AcceptToken has the App of a ScimToken, which must exist, list it with its digest. Errors are the API server's.
func (e *Env) AcceptToken(ctx context.Context, token *v1alpha1.ScimToken) error {
	return localoperator.AcceptToken(ctx, e.Client, token)
}
