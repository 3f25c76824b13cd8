// Package harness runs the whole operator for black-box tests: a control plane with config/ installed, the quickstart
// sample, and the server and the controller as processes of their own, each under its ServiceAccount's token. What the
// tests want to know they ask the API server, as a person with kubectl would.
//
// It stands beside the SCIM client of test/okta/client, on the cluster's side.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/testenv"
)

const (
	// SampleNamespace is where the App of config/samples/quickstart is.
	SampleNamespace = "directory"
	// SampleApp is its name.
	SampleApp = "quickstart"

	startTimeout = 5 * time.Minute
	// addressLimit bounds the wait for a former server's address: a connection that was closed may keep it for a minute.
	addressLimit = 90 * time.Second
)

// Harness is a running operator.
type Harness struct {
	Env       *testenv.Env
	Clientset kubernetes.Interface
	// ServerKubeconfig and ControllerKubeconfig are the processes' own credentials.
	ServerKubeconfig, ControllerKubeconfig string
	// ServerLog and ControllerLog hold all that the processes have printed.
	ServerLog, ControllerLog *Log
	// Server and Controller are the processes that Main started; a test that replaces one sets it.
	Server, Controller *localoperator.Process

	binary, dir string
	stopRenewal context.CancelFunc

	mu        sync.Mutex
	processes []*localoperator.Process
	passwords []string
}

// Main starts a harness with one server and one controller, sets *h, runs the package's tests and stops it. At the end no password that any client sent may
// be found anywhere.
//
//	func TestMain(m *testing.M) { harness.Main(m, &h) }
func Main(m *testing.M, h **Harness) {
	os.Exit(run(m, h))
}

func run(m *testing.M, h **Harness) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	started, err := Start(ctx)
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
	if started.Controller, err = started.RunController(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if started.Server, err = started.RunServer(ctx, ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*h = started
	code = m.Run()
	if err := started.FindPasswords(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: after all tests:", err)
		code = 1
	}
	return code
}

// Start runs the control plane, installs the operator and the quickstart sample, and makes the two ServiceAccounts'
// kubeconfigs. RunServer and RunController run the processes. After an error nothing runs any more.
func Start(ctx context.Context) (_ *Harness, err error) {
	ctrllog.SetLogger(logr.Discard()) // of this process: its clients have nothing to say
	h := &Harness{ServerLog: &Log{}, ControllerLog: &Log{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Stop())
		}
	}()
	if h.binary, err = localoperator.BuildOperator(ctx); err != nil {
		return nil, err
	}
	if h.Env, err = testenv.Start(ctx); err != nil {
		return nil, err
	}
	if h.Clientset, err = kubernetes.NewForConfig(h.Env.Config); err != nil {
		return nil, err
	}
	if err := h.ApplySample(ctx); err != nil {
		return nil, err
	}
	return h, h.writeKubeconfigs(ctx)
}

// ApplySample writes the quickstart sample, with limits and waits for tests. Start has done so; a test that deleted it does again. Errors
// are those of reading it and of the API server.
func (h *Harness) ApplySample(ctx context.Context) error {
	sample, err := localoperator.ReadObjects(config.FS, "samples/quickstart")
	if err != nil {
		return err
	}
	for _, object := range sample {
		if object.GetKind() == "App" {
			if err := unstructured.SetNestedMap(object.Object, map[string]any{"requestsPerSecond": int64(1000), "burst": int64(10000)}, "spec", "limits"); err != nil {
				return err
			}
			// An answer to a deactivation says that the access is gone, however busy the machine is: tests look at once.
			if err := unstructured.SetNestedField(object.Object, "30s", "spec", "deactivation", "confirmWithin"); err != nil {
				return err
			}
		}
	}
	return localoperator.Apply(ctx, h.Env.Config, sample)
}

func (h *Harness) writeKubeconfigs(ctx context.Context) (err error) {
	if h.dir, err = os.MkdirTemp("", "harness-"); err != nil {
		return err
	}
	h.ServerKubeconfig, h.ControllerKubeconfig = filepath.Join(h.dir, "server"), filepath.Join(h.dir, "controller")
	// The renewal of the tokens outlives the start.
	renewal, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stopRenewal = stop
	return errors.Join(
		localoperator.ServiceAccountKubeconfig(renewal, h.Env.Config, localoperator.Namespace, localoperator.ServerAccount, h.ServerKubeconfig),
		localoperator.ServiceAccountKubeconfig(renewal, h.Env.Config, localoperator.Namespace, localoperator.ControllerAccount, h.ControllerKubeconfig),
	)
}

// Stop ends every process, the control plane too, and removes what was written. The error joins what failed.
func (h *Harness) Stop() error {
	h.mu.Lock()
	processes := h.processes
	h.processes = nil
	h.mu.Unlock()
	var errs []error
	for _, process := range processes {
		errs = append(errs, process.Stop())
	}
	if h.stopRenewal != nil {
		h.stopRenewal()
	}
	if h.Env != nil {
		errs = append(errs, h.Env.Stop())
	}
	if h.dir != "" {
		errs = append(errs, os.RemoveAll(h.dir))
	}
	return errors.Join(errs...)
}

// IssuersOnLoopback lets a server ask issuers of tokens on this machine. Every server of a test with one needs it: each tells whether it
// can read the issuer's keys.
const IssuersOnLoopback = "--issuer-networks=127.0.0.0/8"

// RunServer runs one more server and waits until it is ready. An empty address means a free port; a former server's address
// brings that one back, once no other program has a connection from there. It fails where the process does not become ready.
func (h *Harness) RunServer(ctx context.Context, address string) (*localoperator.Process, error) {
	for end := time.Now().Add(addressLimit); ; {
		server, err := localoperator.StartServer(ctx, localoperator.ProcessOptions{
			Binary: h.binary, Kubeconfig: h.ServerKubeconfig, Listen: address, Log: h.ServerLog,
			Args: []string{"--max-requests-per-second=1000", IssuersOnLoopback},
		})
		if err == nil || address == "" || !strings.Contains(err.Error(), "address already in use") || time.Now().After(end) || ctx.Err() != nil {
			return h.remember(server, err)
		}
		time.Sleep(time.Second)
	}
}

// RunServerWith runs one more server with further arguments, on a free port. It fails where the process does not become
// ready.
func (h *Harness) RunServerWith(ctx context.Context, args ...string) (*localoperator.Process, error) {
	return h.remember(localoperator.StartServer(ctx, localoperator.ProcessOptions{
		Binary: h.binary, Kubeconfig: h.ServerKubeconfig, Log: h.ServerLog, Args: args,
	}))
}

// BeginServer runs one more server, and does not wait until it is ready. It fails where the process cannot be started.
func (h *Harness) BeginServer(ctx context.Context, args ...string) (*localoperator.Process, error) {
	return h.remember(localoperator.StartServer(ctx, localoperator.ProcessOptions{
		Binary: h.binary, Kubeconfig: h.ServerKubeconfig, Log: h.ServerLog, Args: args, Unready: true,
	}))
}

// RunController runs a controller and waits until it is ready. Only one may run at a time: it elects no leader. It fails
// where the process does not become ready.
func (h *Harness) RunController(ctx context.Context) (*localoperator.Process, error) {
	return h.remember(localoperator.StartController(ctx, localoperator.ProcessOptions{
		Binary: h.binary, Kubeconfig: h.ControllerKubeconfig, Log: h.ControllerLog,
	}))
}

// RunCandidate runs one of several controllers that elect a leader, and waits until it is ready: a standby is ready, too. It
// fails where the process does not become ready.
func (h *Harness) RunCandidate(ctx context.Context) (*localoperator.Process, error) {
	return h.remember(localoperator.StartController(ctx, localoperator.ProcessOptions{
		Binary: h.binary, Kubeconfig: h.ControllerKubeconfig, Log: h.ControllerLog, LeaderElect: true,
	}))
}

// BeginRefusedController runs one more controller with the server's credential, which may not read what a controller needs, and does not
// wait for it. It fails where the process cannot be started.
func (h *Harness) BeginRefusedController(ctx context.Context) (*localoperator.Process, error) {
	return h.remember(localoperator.StartController(ctx, localoperator.ProcessOptions{
		Binary: h.binary, Kubeconfig: h.ServerKubeconfig, Log: h.ControllerLog, LeaderElect: true, Unready: true,
	}))
}

func (h *Harness) remember(process *localoperator.Process, err error) (*localoperator.Process, error) {
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.processes = append(h.processes, process)
	return process, nil
}

// StopAtEnd stops a process when the test ends.
func StopAtEnd(t testing.TB, process *localoperator.Process) {
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// Client returns an Okta client for an App, at the base URL of the server's root and the path ("/scim/v2").
func (h *Harness) Client(server *localoperator.Process, path string, app App, dialect okta.Dialect) *okta.Client {
	client := okta.New(server.URL+path, "Bearer "+app.Token, dialect)
	client.OnPassword = h.RememberPassword
	return client
}

// App is one App, with a token that opens it.
type App struct {
	Namespace, Name, Token string
	// Prefix of the App's Kubernetes user names.
	Prefix string
}

// Subject is the Kubernetes user that stands for a userName.
func (a App) Subject(userName string) string { return a.Prefix + userName }
