package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/controlplane"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/scheme"
	"github.com/scim-operator/scim-operator/internal/token"
)

const (
	sampleDir = "samples/quickstart"
	// requestTimeout bounds every single request of either side.
	requestTimeout = 30 * time.Second
	// readyTimeout bounds how long the controller may take to accept the sample.
	readyTimeout = 60 * time.Second
	// startTimeout bounds how long the server may take to read all users, on a machine that others use, too.
	startTimeout = 5 * time.Minute
)

// environment is a control plane with the operator on it.
type environment struct {
	plane   *controlplane.ControlPlane
	version string // of the API server
	dir     string // credentials
	logs    []io.Closer
	suite   *suite
	group   string

	server, controller *localoperator.Process
	controllerArgs     []string

	app   client.ObjectKey
	token string
	scim  *scimClient
	// bare is the baseline's client: the server's own ServiceAccount, uncached and without a rate limit, so that both
	// sides differ by the server only.
	bare client.Client
	// admin looks and prepares; no figure counts its requests but the access reviews of the deactivation.
	admin     client.Client
	clientset kubernetes.Interface
	config    *rest.Config
	scheme    *runtime.Scheme
}

// startEnvironment returns when the server takes requests for the sample App. The caller stops it.
func startEnvironment(ctx context.Context, s *suite, group string) (*environment, error) {
	e := &environment{suite: s, group: group}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, e.stop())
	}
	return e, nil
}

func (e *environment) start(ctx context.Context) (err error) {
	say := e.suite.progress.say
	say("starting etcd and kube-apiserver with fresh data")
	if e.dir, err = os.MkdirTemp("", "scim-operator-bench-"); err != nil {
		return err
	}
	if err := e.startPlane(ctx, false); err != nil {
		return err
	}
	say("installing CRDs, RBAC and the sample App")
	if err := localoperator.Install(ctx, e.plane.Config, config.FS); err != nil {
		return err
	}
	if err := e.applySample(ctx); err != nil {
		return fmt.Errorf("applying the sample: %w", err)
	}
	if err := e.makeClients(ctx); err != nil {
		return err
	}
	say("starting the controller and the server")
	if err := e.startController(ctx); err != nil {
		return err
	}
	if err := e.waitSampleReady(ctx); err != nil {
		return err
	}
	if err := e.startServer(ctx); err != nil {
		return err
	}
	concurrency := e.suite.plan.readConcurrency
	for _, c := range e.suite.plan.createConcurrency {
		concurrency = max(concurrency, c)
	}
	e.scim = newSCIMClient(e.server.URL+"/scim/v2", e.token, concurrency)
	return nil
}

// startPlane starts the control plane on its data, at its address.
func (e *environment) startPlane(ctx context.Context, unsafe bool) (err error) {
	e.plane, err = controlplane.Start(ctx, controlplane.Options{
		BinDir: e.suite.binDir, DataDir: filepath.Join(e.dir, "plane"), UnsafeNoFsync: unsafe,
	})
	return err
}

// fast does something with an etcd that does not wait for the disk. Nothing is measured meanwhile.
func (e *environment) fast(ctx context.Context, do func() error) error {
	if err := e.plane.Stop(); err != nil {
		return err
	}
	if err := e.startPlane(ctx, true); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if err := e.plane.Stop(); err != nil {
		return err
	}
	return e.startPlane(ctx, false)
}

// waitCached returns when an API server that was started on a full store has read its Users and NameClaims. Until then it answers
// no watch of them, and has its processors busy with that.
func (e *environment) waitCached(ctx context.Context) error {
	e.suite.progress.say("waiting until the API server has read its store")
	watching, err := client.NewWithWatch(e.config, client.Options{Scheme: e.scheme})
	if err != nil {
		return err
	}
	for _, list := range []client.ObjectList{&v1alpha1.UserList{}, &v1alpha1.NameClaimList{}} {
		if err := waitWatched(ctx, watching, list); err != nil {
			return fmt.Errorf("waiting for a watch of %T: %w", list, err)
		}
	}
	return nil
}

func waitWatched(ctx context.Context, watching client.WithWatch, list client.ObjectList) error {
	return wait.PollUntilContextTimeout(ctx, time.Second, startTimeout, true, func(ctx context.Context) (bool, error) {
		if err := watching.List(ctx, list, client.Limit(1)); err != nil {
			return false, err
		}
		fromNow := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}}
		events, err := watching.Watch(ctx, list, fromNow)
		if apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) {
			return false, nil
		}
		if err == nil {
			events.Stop()
		}
		return err == nil, err
	})
}

func (e *environment) applySample(ctx context.Context) error {
	objects, err := localoperator.ReadObjects(config.FS, sampleDir)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetKind() == "App" {
			e.app = client.ObjectKeyFromObject(object)
		}
	}
	if e.app.Name == "" {
		return fmt.Errorf("%s holds no App", sampleDir)
	}
	if e.token, err = token.New(); err != nil {
		return err
	}
	scimToken := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"app": e.app.Name, "digest": token.Digest(e.token)},
	}}
	scimToken.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ScimToken"))
	scimToken.SetNamespace(e.app.Namespace)
	scimToken.SetName(e.app.Name)
	for _, object := range objects {
		if object.GetKind() == "App" {
			accepted := []any{map[string]any{"name": e.app.Name, "digest": token.Digest(e.token)}}
			limits := map[string]any{"requestsPerSecond": int64(10_000), "burst": int64(100_000)}
			if err := errors.Join(unstructured.SetNestedSlice(object.Object, accepted, "spec", "tokens"),
				unstructured.SetNestedMap(object.Object, limits, "spec", "limits")); err != nil {
				return err
			}
		}
	}
	return localoperator.Apply(ctx, e.plane.Config, append(objects, scimToken))
}

func (e *environment) makeClients(ctx context.Context) (err error) {
	if e.scheme, err = scheme.New(); err != nil {
		return err
	}
	e.config = rest.CopyConfig(e.plane.Config)
	e.config.QPS, e.config.Timeout = -1, requestTimeout
	if e.admin, err = client.New(e.config, client.Options{Scheme: e.scheme}); err != nil {
		return err
	}
	if e.clientset, err = kubernetes.NewForConfig(e.config); err != nil {
		return err
	}
	version, err := e.clientset.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	e.version = version.GitVersion

	accounts := map[string]string{"server": localoperator.ServerAccount, "controller": localoperator.ControllerAccount}
	for name, account := range accounts {
		if err := localoperator.ServiceAccountKubeconfig(ctx, e.plane.Config, localoperator.Namespace, account, e.kubeconfig(name)); err != nil {
			return err
		}
	}
	bare, err := clientcmd.BuildConfigFromFlags("", e.kubeconfig("server"))
	if err != nil {
		return err
	}
	bare.QPS, bare.Timeout = -1, requestTimeout
	e.bare, err = client.New(bare, client.Options{Scheme: e.scheme})
	return err
}

func (e *environment) kubeconfig(name string) string { return filepath.Join(e.dir, name+".kubeconfig") }

func (e *environment) startServer(ctx context.Context) (err error) {
	e.server, err = e.startProcess(ctx, "server", e.kubeconfig("server"), localoperator.StartServer)
	return err
}

func (e *environment) startController(ctx context.Context) (err error) {
	e.controller, err = e.startProcess(ctx, "controller", e.kubeconfig("controller"), localoperator.StartController)
	return err
}

func (e *environment) stopController() error {
	if e.controller == nil {
		return nil
	}
	defer func() { e.controller = nil }()
	return e.controller.Stop()
}

func (e *environment) startProcess(ctx context.Context, name, kubeconfig string,
	start func(context.Context, localoperator.ProcessOptions) (*localoperator.Process, error),
) (*localoperator.Process, error) {
	options := localoperator.ProcessOptions{Binary: e.suite.binary, Kubeconfig: kubeconfig, ReadyTimeout: startTimeout}
	if name == "controller" {
		options.Args = append(options.Args, e.controllerArgs...)
	}
	if name == "server" && e.group != isolationGroup {
		options.Args = append(options.Args, "--max-requests-per-second=0") // what it can, not what it may
	}
	if e.suite.logs != "" {
		log, err := os.Create(filepath.Join(e.suite.logs, e.group+"-"+name+".log"))
		if err != nil {
			return nil, err
		}
		e.logs = append(e.logs, log)
		options.Log = log
	}
	if port := e.suite.pprofPort; port != 0 {
		if name == "controller" {
			port++
		}
		options.Args = append(options.Args, fmt.Sprintf("--pprof-listen=127.0.0.1:%d", port))
	}
	return start(ctx, options)
}

func (e *environment) waitSampleReady(ctx context.Context) error { return e.waitReady(ctx, e.app) }

// waitReady returns when the controller has accepted an App and the token of the same name: from then on the server does.
func (e *environment) waitReady(ctx context.Context, name client.ObjectKey) error {
	app, scimToken := &v1alpha1.App{}, &v1alpha1.ScimToken{}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, readyTimeout, true, func(ctx context.Context) (bool, error) {
		if err := errors.Join(e.admin.Get(ctx, name, app), e.admin.Get(ctx, name, scimToken)); err != nil {
			return false, err
		}
		return isReady(app.Status.Conditions, app.Generation) && isReady(scimToken.Status.Conditions, scimToken.Generation), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the App %s and its token: %w (App %v, ScimToken %v)",
			name.Name, err, app.Status.Conditions, scimToken.Status.Conditions)
	}
	return nil
}

func isReady(conditions []metav1.Condition, generation int64) bool {
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == generation
}

// key is the object key of a User, or of any other object of the App's directory.
func (e *environment) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: e.app.Namespace, Name: name}
}

// stop ends everything in the reverse order of the start and removes its files.
func (e *environment) stop() error {
	var errs []error
	if e.scim != nil {
		e.scim.http.CloseIdleConnections()
	}
	if e.server != nil {
		errs = append(errs, e.server.Stop())
	}
	errs = append(errs, e.stopController())
	if e.plane != nil {
		errs = append(errs, e.plane.Stop())
	}
	for _, log := range e.logs {
		errs = append(errs, log.Close())
	}
	if e.dir != "" {
		errs = append(errs, os.RemoveAll(e.dir))
	}
	return errors.Join(errs...)
}
