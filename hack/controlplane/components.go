package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/scim-operator/scim-operator/hack/process"
)

// probeTimeout bounds one question to a process whether it is ready.
const probeTimeout = 5 * time.Second

func (c *ControlPlane) startEtcd(ctx context.Context) error {
	client, err := process.FreeAddress()
	if err != nil {
		return err
	}
	peer, err := process.FreeAddress()
	if err != nil {
		return err
	}
	c.etcdURL = "https://" + client
	ca, certificate, key := c.path("pki/ca.crt"), c.path("pki/etcd.crt"), c.path("pki/etcd.key")
	args := []string{
		"--name=etcd",
		"--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + c.etcdURL,
		"--advertise-client-urls=" + c.etcdURL,
		"--listen-peer-urls=https://" + peer,
		// Other users of this machine reach loopback, too. And no other etcd, on a port that
		// both have picked, can answer the probe below.
		"--client-cert-auth", "--trusted-ca-file=" + ca, "--cert-file=" + certificate, "--key-file=" + key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + ca, "--peer-cert-file=" + certificate, "--peer-key-file=" + key,
		"--log-level=warn",
	}
	if c.options.UnsafeNoFsync {
		args = append(args, "--unsafe-no-fsync")
	}
	etcd, err := c.start(ctx, "etcd", filepath.Join(c.options.BinDir, "etcd"), args, c.EtcdConfig(), "/readyz")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.etcd = etcd
	return err
}

// EtcdConfig reaches etcd itself, behind the API server's back, as an administrator of both may. etcd answers HTTP with
// JSON under /v3. It is for benchmarks, which need many objects before they measure anything.
func (c *ControlPlane) EtcdConfig() *rest.Config {
	return &rest.Config{Host: c.etcdURL, TLSClientConfig: rest.TLSClientConfig{
		CAFile: c.path("pki/ca.crt"), CertFile: c.path("pki/etcd.crt"), KeyFile: c.path("pki/etcd.key"),
	}}
}

// EtcdPid is the process that tests stop for a while, as a disk does that does not answer.
func (c *ControlPlane) EtcdPid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.etcd.Pid()
}

// StartAPIServer runs kube-apiserver on the address and the data that it had before, and returns when it is ready. Only
// after KillAPIServer is there a need for it. It fails where the process ends, or ctx does, before it is ready.
func (c *ControlPlane) StartAPIServer(ctx context.Context) error {
	args := []string{
		"--etcd-servers=" + c.etcdURL,
		"--etcd-cafile=" + c.path("pki/ca.crt"),
		"--etcd-certfile=" + c.path("pki/etcd.crt"),
		"--etcd-keyfile=" + c.path("pki/etcd.key"),
		"--bind-address=127.0.0.1",
		"--secure-port=" + portOf(c.address),
		// Nothing runs in this cluster that would look for the API server in a Service, and
		// the endpoint of one may not be on loopback.
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--tls-cert-file=" + c.path("pki/kube-apiserver.crt"),
		"--tls-private-key-file=" + c.path("pki/kube-apiserver.key"),
		"--client-ca-file=" + c.path("pki/ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.path("pki/service-account.pub"),
		"--service-account-signing-key-file=" + c.path("pki/service-account.key"),
		// Without kube-controller-manager no namespace gets its default ServiceAccount.
		"--disable-admission-plugins=ServiceAccount",
	}
	if !slices.ContainsFunc(c.options.APIServerArgs, func(arg string) bool { return strings.HasPrefix(arg, "--authorization-config=") }) {
		args = append(args, "--authorization-mode=RBAC") // which excludes the other
	}
	probe := &rest.Config{Host: c.URL(), TLSClientConfig: rest.TLSClientConfig{CAData: c.authority.pem}}
	apiServer, err := c.start(ctx, "kube-apiserver", filepath.Join(c.options.BinDir, "kube-apiserver"), slices.Concat(args, c.options.APIServerArgs), probe, "/readyz")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apiServer = apiServer
	return err
}

// KillAPIServer ends kube-apiserver as a crash would: clients see broken connections, then
// refused ones. The data stays in etcd, which goes on running. It fails where the process cannot be signalled.
func (c *ControlPlane) KillAPIServer() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.apiServer.Kill()
}

// RestartAPIServer kills kube-apiserver and starts it again on the same port and data. Errors are those of both.
func (c *ControlPlane) RestartAPIServer(ctx context.Context) error {
	if err := c.KillAPIServer(); err != nil {
		return err
	}
	return c.StartAPIServer(ctx)
}

// StartControllerManager runs the binary that EnsureControllerManager returned, for what needs garbage collection, the end
// of namespaces or aggregated ClusterRoles. It fails where the process ends, or ctx does, before it is ready.
func (c *ControlPlane) StartControllerManager(ctx context.Context, binary string) error {
	kubeconfig := c.path("pki/kube-controller-manager.kubeconfig")
	if err := c.WriteKubeconfig(kubeconfig, "kube-controller-manager", "system:masters"); err != nil {
		return err
	}
	address, err := process.FreeAddress()
	if err != nil {
		return err
	}
	if err := c.authority.writeServing(c.path("pki"), controllerManagerBinary); err != nil {
		return err
	}
	args := []string{
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--secure-port=" + portOf(address),
		"--tls-cert-file=" + c.path("pki/kube-controller-manager.crt"),
		"--tls-private-key-file=" + c.path("pki/kube-controller-manager.key"),
		"--service-account-private-key-file=" + c.path("pki/service-account.key"),
		"--root-ca-file=" + c.path("pki/ca.crt"),
		"--use-service-account-credentials",
	}
	probe := &rest.Config{Host: "https://" + address, TLSClientConfig: rest.TLSClientConfig{CAData: c.authority.pem}}
	manager, err := c.start(ctx, controllerManagerBinary, binary, args, probe, "/healthz")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.controllerManager = manager
	return err
}

// start runs a process with its log in the directory and waits until the path of the probe's
// host answers 200. A process that does not get ready is ended before start returns.
func (c *ControlPlane) start(ctx context.Context, name, binary string, args []string, probe *rest.Config, path string) (*process.Process, error) {
	log, err := os.OpenFile(c.path(name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(probe)
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	p, err := process.Start(process.Options{Name: name, Path: binary, Args: args, Log: log})
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	go func() {
		<-p.Done()
		_ = log.Close()
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.WaitReady(ctx, func(ctx context.Context) error { return answersOK(ctx, client, probe.Host+path) }); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	return p, nil
}

func answersOK(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}
