package dev

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/scim-operator/scim-operator/hack/localoperator"

	"github.com/scim-operator/scim-operator/config"
)

func TestSampleHoldsAnAppAndNoKnownToken(t *testing.T) {
	objects, err := localoperator.ReadObjects(config.FS, sampleDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := findApp(objects); err != nil {
		t.Error(err)
	}
	tokens := 0
	for _, object := range objects {
		if object.GetKind() == "ScimToken" {
			tokens++
		}
		if _, generated, _ := unstructured.NestedMap(object.Object, "spec", "generate"); object.GetKind() == "ScimToken" && !generated {
			t.Errorf("%s holds ScimToken %s: its token would be known to all", sampleDir, object.GetName())
		}
	}
	if tokens == 0 {
		t.Errorf("%s holds no ScimToken", sampleDir)
	}
}

func TestScimURLIsReachable(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8085": "http://127.0.0.1:8085/scim/v2",
		"0.0.0.0:80":     "http://127.0.0.1:80/scim/v2",
		":80":            "http://127.0.0.1:80/scim/v2",
		"[::]:80":        "http://127.0.0.1:80/scim/v2",
		"dev.local:80":   "http://dev.local:80/scim/v2",
	} {
		r := &run{Options: Options{Listen: listen}}
		if got := r.scimURL(); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for _, word := range []string{"plain/path-1.2", "", "with space", "it's", `$HOME "x" \`, "a;b", "ünï"} {
		output, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf %s "+shellQuote(word)).Output()
		if err != nil || string(output) != word {
			t.Errorf("%q quoted as %s reads %q, error %v", word, shellQuote(word), output, err)
		}
	}
}

func TestResetTouchesNothingOfOthers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"token", "precious"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &run{Options: Options{Dir: dir, Reset: true, Progress: t.Output()}}
	if err := r.prepareDir(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
		t.Errorf("a stranger's file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "token")); !os.IsNotExist(err) {
		t.Errorf("the token is still there: %v", err)
	}
}
