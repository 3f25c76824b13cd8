package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gofrs/flock"
	"github.com/scim-operator/scim-operator/hack/process"
)

const (
	// startTimeout bounds the start of one process, on a loaded machine too.
	startTimeout = 90 * time.Second
	// stopGrace is what a process gets to end by itself.
	stopGrace = 10 * time.Second
	// portAttempts is how often free ports are picked anew when another program took them
	// between the look and the listening.
	portAttempts = 3
)

// Options say how to run a control plane. The zero value is good for a test but for BinDir.
type Options struct {
	// BinDir holds etcd, kube-apiserver and kubectl; Ensure returns one. Required.
	BinDir string
	// DataDir keeps etcd's data, keys, the port and logs: a second start finds the same
	// cluster at the same address. Empty: a temporary directory, removed by Stop.
	DataDir string
	// Port is the API server's. 0: the one used before in DataDir if it is free, else any.
	Port int
	// APIServerArgs are added to kube-apiserver's, and win over them.
	APIServerArgs []string
	// UnsafeNoFsync lets etcd answer before its data is on disk. For tests, which do not
	// outlive their machine; never for benchmarks or data that matters.
	UnsafeNoFsync bool
}

// ControlPlane is a running etcd and kube-apiserver on loopback.
type ControlPlane struct {
	// Config is the administrator's (group system:masters). Copy it before changing it.
	Config *rest.Config

	options   Options
	dir       string
	lock      *flock.Flock // keeps a second control plane away from kept data
	authority *authority   // of etcd too, see startEtcd
	etcdURL   string
	address   string // of the API server, host:port

	mu                sync.Mutex
	etcd              *process.Process
	apiServer         *process.Process
	controllerManager *process.Process
}

// Start runs etcd and kube-apiserver and returns when the API server is ready. ctx bounds the start only; the processes run
// until Stop. After an error nothing runs any more.
func Start(ctx context.Context, options Options) (*ControlPlane, error) {
	if options.BinDir == "" {
		return nil, errors.New("starting the control plane: Options.BinDir is empty")
	}
	c := &ControlPlane{options: options, dir: options.DataDir}
	if err := c.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the control plane: %w", err), c.release())
	}
	if err := c.startAll(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the control plane: %w", err), c.Stop())
	}
	return c, nil
}

// prepare makes the directory, the keys and the serving certificates.
func (c *ControlPlane) prepare() (err error) {
	if c.dir == "" {
		c.dir, err = os.MkdirTemp("", "controlplane-")
	} else {
		c.dir, err = filepath.Abs(c.dir)
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.path("pki"), 0o700); err != nil {
		return err
	}
	if err := c.lockData(); err != nil {
		return err
	}
	if c.authority, err = loadAuthority(c.path("pki")); err != nil {
		return err
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if err := c.authority.writeServing(c.path("pki"), name); err != nil {
			return err
		}
	}
	return writeServiceAccountKeys(c.path("pki/service-account.key"), c.path("pki/service-account.pub"))
}

func (c *ControlPlane) startAll(ctx context.Context) error {
	if err := retryPorts(ctx, func() error { return c.startEtcd(ctx) }); err != nil {
		return err
	}
	if err := retryPorts(ctx, func() error {
		if err := c.chooseAddress(); err != nil {
			return err
		}
		return c.StartAPIServer(ctx)
	}); err != nil {
		return err
	}
	var err error
	c.Config, err = c.UserConfig("admin", "system:masters")
	return err
}

// retryPorts runs start again when a process could not get the ports picked for it.
func retryPorts(ctx context.Context, start func() error) error {
	var err error
	for range portAttempts {
		if err = start(); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "address already in use") {
			return err
		}
	}
	return err
}

// chooseAddress settles where the API server listens, and remembers it beside kept data.
func (c *ControlPlane) chooseAddress() error {
	if c.options.Port != 0 {
		c.address = loopback(c.options.Port)
		return nil
	}
	portFile := c.path("port")
	if c.options.DataDir != "" {
		data, err := os.ReadFile(portFile)
		port, parseError := strconv.Atoi(strings.TrimSpace(string(data)))
		if err == nil && parseError == nil && process.IsFree(loopback(port)) {
			c.address = loopback(port)
			return nil
		}
	}
	address, err := process.FreeAddress()
	if err != nil {
		return err
	}
	c.address = address
	return os.WriteFile(portFile, []byte(portOf(address)+"\n"), 0o644)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// Stop ends all processes, the API server before etcd, and removes a temporary directory. It may be called more than once.
// The error joins what failed.
func (c *ControlPlane) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, p := range []*process.Process{c.controllerManager, c.apiServer, c.etcd} {
		if p != nil {
			errs = append(errs, p.Stop(stopGrace))
		}
	}
	return errors.Join(append(errs, c.release())...)
}

// lockData fails at once when another control plane runs on the same directory.
func (c *ControlPlane) lockData() error {
	lock := flock.New(c.path(".lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock %s: %w", c.dir, err)
	}
	if !locked {
		return fmt.Errorf("%s is in use by another process", c.dir)
	}
	c.lock = lock
	return nil
}

// InUse says whether a control plane runs on the data directory, in whatever process. It fails where the lock cannot be
// opened.
func InUse(dataDir string) (bool, error) {
	path := filepath.Join(dataDir, ".lock")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	lock := flock.New(path)
	free, err := lock.TryLock()
	return !free && err == nil, errors.Join(err, lock.Close())
}

// release gives the directory free, or removes a temporary one.
func (c *ControlPlane) release() error {
	var err error
	if c.lock != nil {
		err = c.lock.Close()
		c.lock = nil
	}
	if c.options.DataDir != "" || c.dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// URL is the API server's base URL.
func (c *ControlPlane) URL() string { return "https://" + c.address }

// Kubectl is the path of the kubectl that belongs to the control plane.
func (c *ControlPlane) Kubectl() string { return filepath.Join(c.options.BinDir, "kubectl") }

// Dir holds the data, the keys and the logs etcd.log and kube-apiserver.log.
func (c *ControlPlane) Dir() string { return c.dir }

// Failed returns a channel that yields an error when etcd or kube-apiserver ends; it is for
// callers that do not stop or restart them meanwhile.
func (c *ControlPlane) Failed() <-chan error {
	c.mu.Lock()
	etcd, apiServer := c.etcd, c.apiServer
	c.mu.Unlock()
	failed := make(chan error, 1)
	go func() {
		select {
		case <-etcd.Done():
			failed <- etcd.ExitError()
		case <-apiServer.Done():
			failed <- apiServer.ExitError()
		}
	}()
	return failed
}

func (c *ControlPlane) path(name string) string {
	return filepath.Join(c.dir, filepath.FromSlash(name))
}
