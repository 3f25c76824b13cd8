// Package operations_test does what the pages for operators say, and looks at what they promise: moving an App to another cluster, personal data,
// and disasters of etcd.
package operations_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/scim-operator/scim-operator/test/e2e/commands"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// patience bounds what has to happen at all, on a busy machine.
const patience = time.Minute

var operator *harness.Harness

func TestMain(m *testing.M) { harness.Main(m, &operator) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// workplace is where the commands of a page are run.
type workplace struct {
	dir string
	env []string
}

// newWorkplace gives commands kubectl, and the clusters as contexts. The first one is the current one.
func newWorkplace(t *testing.T, names []string, clusters ...*harness.Harness) workplace {
	t.Helper()
	dir := t.TempDir()
	kubeconfig := clientcmdapi.NewConfig()
	for i, cluster := range clusters {
		admin, name := cluster.Env.Config, names[i]
		kubeconfig.Clusters[name] = &clientcmdapi.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}
		kubeconfig.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: admin.CertData, ClientKeyData: admin.KeyData}
		kubeconfig.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	}
	kubeconfig.CurrentContext = names[0]
	path := filepath.Join(dir, "kubeconfig")
	must(t, clientcmd.WriteToFile(*kubeconfig, path))
	search := filepath.Dir(clusters[0].Env.Kubectl) + string(os.PathListSeparator) + os.Getenv("PATH")
	return workplace{dir: dir, env: append(os.Environ(), "KUBECONFIG="+path, "PATH="+search)}
}

// follow runs the commands that a page has under a name, after the variables, and returns what they print.
func (w workplace) follow(t *testing.T, page, name string, variables ...string) string {
	t.Helper()
	text, err := commands.Named(filepath.Join("..", "..", "docs", page), name)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", text)
	command.Dir, command.Env = w.dir, slices.Concat(w.env, variables)
	var printed, complaints bytes.Buffer
	command.Stdout, command.Stderr = &printed, &complaints
	if err := command.Run(); err != nil {
		t.Fatalf("%s, %q: %v\n%s%s", page, name, err, printed.String(), complaints.String())
	}
	return printed.String()
}

// person is one that no other test uses.
func person(name string) *okta.Assignment { return okta.Assign(okta.NewProfile(name + "@example.com")) }
