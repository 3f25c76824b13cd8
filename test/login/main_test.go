// Package login_test runs a kube-apiserver with the authentication configuration of config/samples/login beside the real server
// and controller, and an issuer on loopback: people that are provisioned by SCIM log in by a token.
package login_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/issuer"
	"github.com/scim-operator/scim-operator/test/testenv"
)

// cluster is what runs: an issuer, an API server that trusts it, one server, one controller.
type cluster struct {
	*testenv.Env
	dir                string
	issuer             *issuer.Issuer
	server, controller *localoperator.Process
}

var running *cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctrllog.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	running = &cluster{}
	defer func() {
		if err := running.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if err := running.start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func (c *cluster) start(ctx context.Context) (err error) {
	if c.dir, err = os.MkdirTemp("", "login-"); err != nil {
		return err
	}
	if c.issuer, err = issuer.New(); err != nil {
		return err
	}
	c.issuer.Defaults = map[string]any{"aud": "kubernetes"}
	file := filepath.Join(c.dir, "authentication-configuration.yaml")
	if err := c.writeSample(file); err != nil {
		return err
	}
	binary, err := localoperator.BuildOperator(ctx)
	if err != nil {
		return err
	}
	if c.Env, err = testenv.StartWith(ctx, testenv.Options{APIServerArgs: []string{"--authentication-config=" + file}}); err != nil {
		return err
	}
	server, controller := filepath.Join(c.dir, "server"), filepath.Join(c.dir, "controller")
	if err := errors.Join(
		localoperator.ServiceAccountKubeconfig(ctx, c.Config, localoperator.Namespace, localoperator.ServerAccount, server),
		localoperator.ServiceAccountKubeconfig(ctx, c.Config, localoperator.Namespace, localoperator.ControllerAccount, controller),
	); err != nil {
		return err
	}
	if c.controller, err = localoperator.StartController(ctx, localoperator.ProcessOptions{Binary: binary, Kubeconfig: controller}); err != nil {
		return err
	}
	c.server, err = localoperator.StartServer(ctx, localoperator.ProcessOptions{Binary: binary, Kubeconfig: server})
	return err
}

// writeSample writes the sample with the issuer of this test: its address, and its certificate, which no public authority signed.
func (c *cluster) writeSample(file string) error {
	const url = "    url: https://example.okta.com/oauth2/default\n"
	data, err := fs.ReadFile(config.FS, "samples/login/authentication-configuration.yaml")
	if err != nil {
		return err
	}
	own := "    url: " + c.issuer.URL + "\n    certificateAuthority: |\n"
	for line := range strings.Lines(c.issuer.Authority()) {
		own += "      " + line
	}
	text := strings.Replace(string(data), url, own, 1)
	if text == string(data) {
		return errors.New("the sample does not name Okta's issuer")
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

func (c *cluster) stop() error {
	var errs []error
	for _, process := range []*localoperator.Process{c.server, c.controller} {
		if process != nil {
			errs = append(errs, process.Stop())
		}
	}
	if c.Env != nil {
		errs = append(errs, c.Stop())
	}
	if c.issuer != nil {
		c.issuer.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}
