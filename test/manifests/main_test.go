// Package manifests_test installs scim-operator as its readers do: by kustomize and by the chart, into a real API server,
// with other namespaces, names and values than the default ones. It runs the operator's processes by the arguments that
// the installed Deployments hold, with the credentials of the installed ServiceAccounts.
//
// Each test has a control plane of its own, since policies and CRDs hold for a whole cluster.
package manifests_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/controlplane"
)

const (
	startTimeout = 5 * time.Minute
	// patience bounds every wait, on a busy machine too.
	patience = 90 * time.Second
)

// cluster is a control plane with nothing of the operator in it, and kubectl as its administrator has it.
type cluster struct {
	*controlplane.ControlPlane
	admin      client.Client
	kubeconfig string
}

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard()) // of this process: its clients have nothing to say
	for _, dir := range []string{"../../config", "../../charts", "../../Makefile", "../../hack/tools"} {
		if err := readAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// readAll opens every file below a folder: go test takes a cached result only where the files that the test itself opened
// are as they were, and kubectl, helm and kustomize are other programs.
func readAll(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		_, err = os.ReadFile(path)
		return err
	})
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	binDir, err := controlplane.Ensure(ctx, os.Stderr)
	must(t, err)
	plane, err := controlplane.Start(ctx, controlplane.Options{BinDir: binDir, UnsafeNoFsync: true})
	must(t, err)
	t.Cleanup(func() { must(t, plane.Stop()) })
	c := &cluster{ControlPlane: plane, kubeconfig: filepath.Join(t.TempDir(), "admin")}
	must(t, plane.WriteKubeconfig(c.kubeconfig, "admin", "system:masters"))
	c.admin = newClient(t, plane.Config)
	return c
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	must(t, v1alpha1.AddToScheme(scheme))
	c, err := client.New(config, client.Options{Scheme: scheme})
	must(t, err)
	return c
}

// as returns a client with another user's name, in the groups of a ServiceAccount where it is one.
func (c *cluster) as(t *testing.T, user string) client.Client {
	t.Helper()
	groups := []string{"system:authenticated"}
	if parts := strings.Split(user, ":"); len(parts) == 4 && parts[1] == "serviceaccount" {
		groups = append(groups, "system:serviceaccounts", "system:serviceaccounts:"+parts[2])
	}
	config, err := c.UserConfig(user, groups...)
	must(t, err)
	return newClient(t, config)
}

// kubectl runs a command as the administrator and returns what it printed, with its error.
func (c *cluster) kubectl(ctx context.Context, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, c.Kubectl(), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	err := command.Run()
	return output.String(), err
}

// apply installs a folder of kustomize's as the README does.
func (c *cluster) apply(t *testing.T, dir string) {
	t.Helper()
	if output, err := c.kubectl(t.Context(), "apply", "--server-side", "-k", dir); err != nil {
		t.Fatalf("kubectl apply -k: %v\n%s", err, output)
	}
}

// overlay writes a folder with a kustomization.yaml that is a copy of the text, with CONFIG replaced by the way to config/.
func overlay(t *testing.T, text string) string {
	t.Helper()
	config, err := filepath.Abs("../../config")
	must(t, err)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	relative, err := filepath.Rel(dir, config)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(strings.ReplaceAll(text, "CONFIG", relative)), 0o600))
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
