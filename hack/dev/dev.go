// Package dev is what `make run` does: a control plane, the operator installed on it, a sample
// App with a token, and the server and the controller as processes under their own
// ServiceAccounts.
//
// It puts hack/controlplane and hack/localoperator together and is called by the dev command only.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/controlplane"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/hack/process"
)

// Options say where and with what to run.
type Options struct {
	// Dir holds the data of the control plane, keys, logs, the token and the file env.
	Dir string
	// Listen is the SCIM server's address, host:port.
	Listen string
	// Reset forgets the data of earlier runs first.
	Reset bool
	// Binary is the operator's executable.
	Binary string
	// Progress gets a line for each step, Output what to try once all is ready.
	Progress, Output io.Writer
}

// contents are the names in Options.Dir that belong to this package. A reset removes these
// and nothing else, whatever directory it is pointed at.
var contents = []string{"controlplane", "credentials", "logs", "token", "kubeconfig", "env"}

// Run starts everything and returns when parent ends, with no error, or when a process ends by
// itself, with an error that holds its last lines. By then all that it started is stopped.
func Run(parent context.Context, options Options) error {
	ctrllog.SetLogger(logr.Discard()) // of this process: its clients have nothing to say
	ctx, fail := context.WithCancelCause(parent)
	defer fail(nil)
	r := &run{Options: options, fail: fail}
	err := r.start(ctx)
	if err == nil {
		<-ctx.Done()
	}
	switch {
	case parent.Err() != nil:
		err = nil
	case ctx.Err() != nil:
		err = context.Cause(ctx) // a process ended; whatever start says follows from that
	}
	r.say("stopping")
	return errors.Join(err, r.stop())
}

// run is one call of Run.
type run struct {
	Options
	fail    context.CancelCauseFunc
	plane   *controlplane.ControlPlane
	mutex   sync.Mutex // of started, while processes start
	started []*localoperator.Process
}

// start follows the steps of the package comment.
func (r *run) start(ctx context.Context) error {
	if err := r.prepareDir(); err != nil {
		return err
	}
	if !process.IsFree(r.Listen) {
		return fmt.Errorf("%s is in use: choose another address with --listen (make run ARGS='--listen 127.0.0.1:9085')", r.Listen)
	}
	if err := r.startControlPlane(ctx); err != nil {
		return err
	}
	again, err := r.isInstalled(ctx)
	if err != nil {
		return err
	}
	var sample *sample
	install := func() (err error) {
		sample, err = r.install(ctx)
		return err
	}
	if again {
		// All that the processes need is there: they read what there is while it is applied anew.
		var steps errgroup.Group
		steps.Go(install)
		steps.Go(func() error { return r.startController(ctx) })
		steps.Go(func() error { return r.startServer(ctx) })
		err = steps.Wait()
	} else {
		for _, step := range []func() error{install, func() error { return r.startController(ctx) }, func() error { return r.startServer(ctx) }} {
			if err = step(); err != nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	r.say("waiting for the App and its token")
	if err := sample.waitReady(ctx, r.plane.Config); err != nil {
		return err
	}
	return r.announce(sample)
}

// install applies the operator and the sample App.
func (r *run) install(ctx context.Context) (*sample, error) {
	r.say("installing CRDs and RBAC")
	if err := localoperator.Install(ctx, r.plane.Config, config.FS); err != nil {
		return nil, err
	}
	if err := localoperator.AggregateClusterRoles(ctx, r.plane.Config); err != nil {
		return nil, err
	}
	r.say("applying the sample App")
	return r.applySample(ctx)
}

// isInstalled says whether an earlier run on the same data came as far as the App.
func (r *run) isInstalled(ctx context.Context) (bool, error) {
	objects, err := localoperator.ReadObjects(config.FS, sampleDir)
	if err != nil {
		return false, err
	}
	app, err := findApp(objects)
	if err != nil {
		return false, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return false, err
	}
	c, err := client.New(r.plane.Config, client.Options{Scheme: scheme})
	if err != nil {
		return false, err
	}
	err = c.Get(ctx, app, &v1alpha1.App{})
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return false, nil
	}
	return err == nil, err
}

func (r *run) prepareDir() (err error) {
	if r.Dir, err = filepath.Abs(r.Dir); err != nil {
		return err
	}
	if inUse, err := controlplane.InUse(r.path("controlplane")); err != nil || inUse {
		return errors.Join(err, fmt.Errorf("another run uses %s: stop it first, or choose another directory with --dir", r.Dir))
	}
	if r.Reset {
		r.say("forgetting the data in %s", r.Dir)
		for _, name := range contents {
			if err := os.RemoveAll(r.path(name)); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{".", "credentials", "logs"} {
		if err := os.MkdirAll(r.path(name), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) startControlPlane(ctx context.Context) error {
	binDir, err := controlplane.Ensure(ctx, r.Progress)
	if err != nil {
		return err
	}
	r.say("starting etcd and kube-apiserver")
	warming, cold := context.WithCancel(ctx)
	defer cold()
	go r.warm(warming)
	r.plane, err = controlplane.Start(ctx, controlplane.Options{BinDir: binDir, DataDir: r.path("controlplane")})
	if err != nil {
		return err
	}
	failed := r.plane.Failed()
	go func() {
		select {
		case err := <-failed:
			r.fail(err)
		case <-ctx.Done():
		}
	}()
	return nil
}

// startController and startServer run the two processes, each by its own ServiceAccount's token, and return when they are ready.
func (r *run) startController(ctx context.Context) error {
	return r.startProcess(ctx, "controller", localoperator.ControllerAccount, localoperator.StartController, "")
}

func (r *run) startServer(ctx context.Context) error {
	return r.startProcess(ctx, "server", localoperator.ServerAccount, localoperator.StartServer, r.Listen)
}

func (r *run) startProcess(ctx context.Context, name, account string,
	start func(context.Context, localoperator.ProcessOptions) (*localoperator.Process, error), listen string,
) error {
	r.say("starting the %s as ServiceAccount %s", name, account)
	kubeconfig := r.path("credentials/" + name + ".kubeconfig")
	if err := localoperator.ServiceAccountKubeconfig(ctx, r.plane.Config, localoperator.Namespace, account, kubeconfig); err != nil {
		return err
	}
	log, err := os.OpenFile(r.path("logs/"+name+".log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	p, err := start(ctx, localoperator.ProcessOptions{Binary: r.Binary, Kubeconfig: kubeconfig, Listen: listen, Log: log})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	r.mutex.Lock()
	r.started = append(r.started, p)
	r.mutex.Unlock()
	go func() {
		<-p.Done()
		_ = log.Close()
		r.fail(p.ExitError()) // without effect once Run is stopping
	}()
	return nil
}

// stop ends everything in the reverse order of the start.
func (r *run) stop() error {
	var errs []error
	for i := len(r.started) - 1; i >= 0; i-- {
		errs = append(errs, r.started[i].Stop())
	}
	if r.plane != nil {
		errs = append(errs, r.plane.Stop())
	}
	return errors.Join(errs...)
}

// scimURL is the base URL as a client on this machine reaches it.
func (r *run) scimURL() string {
	host, port, err := net.SplitHostPort(r.Listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return "http://" + net.JoinHostPort("127.0.0.1", port) + "/scim/v2"
	}
	return "http://" + r.Listen + "/scim/v2"
}

func (r *run) path(name string) string { return filepath.Join(r.Dir, filepath.FromSlash(name)) }

// say writes one line of progress. It ignores errors of the terminal.
func (r *run) say(format string, arguments ...any) {
	_, _ = fmt.Fprintf(r.Progress, "dev: "+format+"\n", arguments...)
}
