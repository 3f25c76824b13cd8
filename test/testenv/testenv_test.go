package testenv_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// fails notes whether a test would have failed.
type fails struct {
	testing.TB
	failed bool
}

func (f *fails) Errorf(string, ...any) { f.failed = true }

func TestMostlyWithin(t *testing.T) {
	for name, test := range map[string]struct {
		took   []time.Duration
		rounds int
		fails  bool
	}{
		"all within":  {[]time.Duration{1, 2, 1}, 2, false},
		"some beyond": {[]time.Duration{9, 1, 9, 9, 2, 1}, 5, false},
		"most beyond": {[]time.Duration{9, 9, 1, 9, 9, 9, 1}, 6, true},
		"one too few": {[]time.Duration{9, 9, 9, 9, 9, 2, 1}, 6, true},
	} {
		f, rounds := &fails{TB: t}, 0
		testenv.MostlyWithin(f, name, 2, 2, func() time.Duration { rounds++; return test.took[rounds-1] })
		if f.failed != test.fails || rounds != test.rounds {
			t.Errorf("%s: fails %t after %d rounds", name, f.failed, rounds)
		}
	}
}
