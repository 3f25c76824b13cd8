package testenv_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/testenv"
)

var env *testenv.Env

func TestMain(m *testing.M) { testenv.Main(m, &env, testenv.Options{}) }

func TestKindsAreServed(t *testing.T) {
	namespace := env.Namespace(t, map[string]string{"purpose": "test"})
	users := &v1alpha1.UserList{}
	if err := env.Client.List(t.Context(), users); err != nil {
		t.Fatal(err)
	}
	if len(users.Items) != 0 {
		t.Errorf("%d users in a fresh environment", len(users.Items))
	}

	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.ControlPlane.WriteKubeconfig(kubeconfig, "admin", "system:masters"); err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), env.Kubectl, "--kubeconfig", kubeconfig, "get", "namespaces", "-l", "purpose=test", "-o", "name").CombinedOutput()
	if got, want := strings.TrimSpace(string(output)), "namespace/"+namespace; err != nil || got != want {
		t.Errorf("kubectl says %q, error %v, want %q", got, err, want)
	}
}
