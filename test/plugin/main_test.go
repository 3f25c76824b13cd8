// Package plugin_test runs the commands of `kubectl scim` as users with and without rights, on a real API server, with the server and
// the controller running.
package plugin_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/cmd/kubectl-scim/plugin"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

var h *harness.Harness

func TestMain(m *testing.M) { harness.Main(m, &h) }

// limit bounds waiting for the controller.
const limit = time.Minute

// account is a user of the cluster with a kubeconfig of its own.
type account struct {
	t          *testing.T
	kubeconfig string
}

// admin is bound to cluster-admin; accountWith makes accounts with ClusterRoles in one namespace.
func admin(t *testing.T, namespace string) account {
	return writeKubeconfig(t, namespace, "admin", "system:masters")
}

func accountWith(t *testing.T, namespace, user string, roles ...string) account {
	t.Helper()
	for _, role := range roles {
		must(t, h.Env.Client.Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: user + "-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		}))
	}
	return writeKubeconfig(t, namespace, user)
}

func writeKubeconfig(t *testing.T, namespace, user string, groups ...string) account {
	t.Helper()
	data, err := h.Env.ControlPlane.Kubeconfig(user, groups...)
	must(t, err)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(path, withNamespace(t, data, namespace), 0o600))
	return account{t, path}
}

// answer is what one command line printed, and its exit status.
type answer struct {
	t           *testing.T
	line        string
	out, errOut string
	status      int
}

// scim runs one command line.
func (a account) scim(args ...string) answer { return a.with(a.t.Context(), "", args...) }

// with runs one command line that reads the text from its standard input.
func (a account) with(ctx context.Context, input string, args ...string) answer {
	out, errOut := &bytes.Buffer{}, &bytes.Buffer{}
	streams := genericiooptions.IOStreams{In: strings.NewReader(input), Out: out, ErrOut: errOut}
	status := plugin.Run(ctx, streams, "test", append([]string{"--kubeconfig", a.kubeconfig, "--cache-dir", filepath.Dir(a.kubeconfig)}, args...))
	return answer{a.t, strings.Join(args, " "), out.String(), errOut.String(), status}
}

// expect fails the test where the exit status is another one, or a text is not printed.
func (a answer) expect(status int, texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.out+a.errOut, text) {
			a.t.Errorf("kubectl scim %s does not print %q:\n%s%s", a.line, text, a.out, a.errOut)
		}
	}
	if a.status != status {
		a.t.Errorf("kubectl scim %s ends with %d, want %d:\n%s%s", a.line, a.status, status, a.out, a.errOut)
	}
	return a
}

// lacks fails the test where a text is printed.
func (a answer) lacks(texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if strings.Contains(a.out+a.errOut, text) {
			a.t.Errorf("kubectl scim %s prints %q:\n%s%s", a.line, text, a.out, a.errOut)
		}
	}
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newApp makes an App like the quickstart's in a namespace of its own.
func newApp(t *testing.T, change func(*v1alpha1.AppSpec)) harness.App {
	t.Helper()
	return h.NewApp(t, h.Server, h.Env.Namespace(t, nil), "app", change)
}

// evaluated waits until the status of each user of the namespace speaks of the user as it is.
func evaluated(t *testing.T, namespace string, want int) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		users := &v1alpha1.UserList{}
		must(t, h.Env.Client.List(t.Context(), users, client.InNamespace(namespace)))
		done := 0
		for i := range users.Items {
			if users.Items[i].Status.ObservedGeneration == users.Items[i].Generation {
				done++
			}
		}
		if done == len(users.Items) && done == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d users are evaluated, want %d", done, len(users.Items), want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
