package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/scim-operator/scim-operator/"

// forbidden says why what cmd links must not hold a package, or nothing where it may.
func forbidden(pkg string) string {
	for prefix, reason := range map[string]string{
		module + "hack": "development",
		module + "test": "tests",
		"sigs.k8s.io/controller-runtime/pkg/envtest":         "a test environment, which writes below /tmp when it is loaded",
		"sigs.k8s.io/controller-runtime/tools/setup-envtest": "a tool for tests",
		module + "cmd/kubectl-scim/plugin":                   "the kubectl plugin",
		"k8s.io/cli-runtime":                                 "a library of kubectl's",
		"testing":                                            "the test runner, with its flags",
	} {
		if pkg == prefix || strings.HasPrefix(pkg, prefix+"/") {
			return reason
		}
	}
	return ""
}

// What is linked runs at start, before main: one constant out of envtest had every Pod crash on a read-only root.
func TestNothingForDevelopmentIsLinked(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(output))
	for _, pkg := range packages {
		if reason := forbidden(pkg); reason != "" {
			t.Errorf("%s is linked: it is %s", pkg, reason)
		}
	}
	if len(packages) < 100 || forbidden(module+"hack/controlplane") == "" {
		t.Errorf("%d packages: this test looks at nothing", len(packages))
	}
}

// The image is built from the folders that are linked and from no other.
func TestDockerfileCopiesWhatIsLinked(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{}
	for _, pkg := range strings.Fields(string(output)) {
		if path, own := strings.CutPrefix(pkg, module); own {
			folder, _, _ := strings.Cut(path, "/")
			linked[folder] = true
		}
	}
	for file, pattern := range map[string]string{"Dockerfile": `(?m)^COPY (\w+) \w+$`, ".dockerignore": `(?m)^!(\w+)$`} {
		data, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		copied := map[string]bool{}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(data), -1) {
			copied[match[1]] = true
		}
		if !maps.Equal(copied, linked) {
			t.Errorf("%s takes %v, and the program links %v", file, slices.Sorted(maps.Keys(copied)), slices.Sorted(maps.Keys(linked)))
		}
	}
}
