// Package authorizer_test runs a kube-apiserver that asks the authorization webhook, with the very files of
// config/samples/authorizer, beside the real server and controller: a leaver is denied everything, whatever bindings are
// left.
package authorizer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/hack/process"
	"github.com/scim-operator/scim-operator/test/testenv"
)

// operator is what runs: one API server, one server with the webhook, one controller.
type operator struct {
	*testenv.Env
	dir, binary string
	// webhook is the address that the API server asks.
	webhook            string
	server, controller *localoperator.Process
}

var cluster *operator

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctrllog.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := &operator{}
	defer func() {
		if err := o.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if err := o.start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cluster = o
	return m.Run()
}

// start brings up the API server first: it must not need the webhook.
func (o *operator) start(ctx context.Context) (err error) {
	if o.dir, err = os.MkdirTemp("", "authorizer-"); err != nil {
		return err
	}
	if o.webhook, err = process.FreeAddress(); err != nil {
		return err
	}
	if err := errors.Join(writeCertificates(o.dir), o.writeSamples()); err != nil {
		return err
	}
	if o.binary, err = localoperator.BuildOperator(ctx); err != nil {
		return err
	}
	if o.Env, err = testenv.StartWith(ctx, testenv.Options{
		APIServerArgs: []string{"--authorization-config=" + o.path("authorization-configuration.yaml")},
	}); err != nil {
		return err
	}
	if err := errors.Join(
		localoperator.ServiceAccountKubeconfig(ctx, o.Config, localoperator.Namespace, localoperator.ServerAccount, o.path("server")),
		localoperator.ServiceAccountKubeconfig(ctx, o.Config, localoperator.Namespace, localoperator.ControllerAccount, o.path("controller")),
	); err != nil {
		return err
	}
	if o.controller, err = localoperator.StartController(ctx, localoperator.ProcessOptions{Binary: o.binary, Kubeconfig: o.path("controller")}); err != nil {
		return err
	}
	return o.startServer(ctx, "")
}

// startServer runs the server with the webhook; address is a former server's, or empty.
func (o *operator) startServer(ctx context.Context, address string) (err error) {
	o.server, err = localoperator.StartServer(ctx, localoperator.ProcessOptions{
		Binary: o.binary, Kubeconfig: o.path("server"), Listen: address,
		Args: []string{
			"--authorizer-listen=" + o.webhook,
			"--authorizer-tls-cert-file=" + o.path("webhook.crt"), "--authorizer-tls-key-file=" + o.path("webhook.key"),
			"--authorizer-client-ca-file=" + o.path("ca.crt"),
		},
	})
	return err
}

func (o *operator) stop() error {
	var errs []error
	for _, p := range []*localoperator.Process{o.server, o.controller} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	if o.Env != nil {
		errs = append(errs, o.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(o.dir))...)
}

func (o *operator) path(name string) string { return filepath.Join(o.dir, name) }

// writeSamples puts the sample files where the API server of this test finds them: folder and address are all that changes.
func (o *operator) writeSamples() error {
	for _, name := range []string{"authorization-configuration.yaml", "authorizer.kubeconfig"} {
		data, err := fs.ReadFile(config.FS, "samples/authorizer/"+name)
		if err != nil {
			return err
		}
		text := strings.NewReplacer("/etc/kubernetes/scim-operator", o.dir, "127.0.0.1:8443", o.webhook).Replace(string(data))
		if text == string(data) {
			return fmt.Errorf("%s names neither the folder nor the address of a node", name)
		}
		if err := os.WriteFile(o.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeCertificates makes an authority, the webhook's certificate and the API server's.
func writeCertificates(dir string) error {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authorizer test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "ca.crt"), "CERTIFICATE", raw); err != nil {
		return err
	}
	for i, name := range []string{"webhook", "kube-apiserver"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		raw, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), authorityKey)
		if err != nil {
			return err
		}
		encoded, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := errors.Join(
			writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", raw),
			writePEM(filepath.Join(dir, name+".key"), "PRIVATE KEY", encoded),
		); err != nil {
			return err
		}
	}
	return nil
}

func writePEM(path, kind string, data []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600)
}
