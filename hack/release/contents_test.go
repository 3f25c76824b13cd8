//go:build release

package main

import (
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const (
	root    = "../../"
	version = "v9.8.7"
	image   = "registry.example.com/scim-operator:" + version
)

// platforms are those that RELEASE_PLATFORMS names, as it goes to make release.
func platforms() []string { return strings.Fields(os.Getenv("RELEASE_PLATFORMS")) }

// makeRelease runs make release in a tree, without an image, and returns the sums of what it wrote.
func makeRelease(t *testing.T, tree, dir string) map[string]string {
	t.Helper()
	runMake(t, tree, "release", "VERSION="+version, "COMMIT=0123456", "IMG="+image, "RELEASE_DIR="+dir, "RELEASE_IMAGE=no", "SOURCE_DATE_EPOCH=1700000000",
		"PLUGIN_PLATFORMS="+strings.Join(platforms(), " "))
	sums := map[string]string{}
	for line := range strings.Lines(read(t, filepath.Join(dir, sumsName))) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
	}
	return sums
}

func runMake(t *testing.T, tree string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", append([]string{"-C", tree}, args...)...)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("make %q: %v\n%s", args, err, output)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// copyTree copies what Git knows of the tree, as it is now, to another folder.
func copyTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "elsewhere")
	script := `mkdir -p "$0" && git ls-files -z --cached --others --exclude-standard | xargs -0 ls -d -- 2>/dev/null | tar -cf - -T - | tar -xf - -C "$0"`
	command := exec.CommandContext(t.Context(), "sh", "-c", script, dir)
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return dir
}

// A release has all of its parts, each of them works, and the same tree at another place gives the same bytes.
func TestRelease(t *testing.T) {
	if len(platforms()) == 0 {
		t.Fatal("RELEASE_PLATFORMS is not set: make verify-release sets it")
	}
	dir := t.TempDir()
	sums := makeRelease(t, root, dir)
	want := []string{"install.yaml", "scim.yaml", "scim-operator-9.8.7.tgz", "scim-operator_" + version + ".cdx.json", "kubectl-scim_" + version + ".cdx.json"}
	for _, platform := range platforms() {
		extension := ".tar.gz"
		if strings.HasPrefix(platform, "windows/") {
			extension = ".zip"
		}
		want = append(want, "kubectl-scim_"+version+"_"+strings.ReplaceAll(platform, "/", "_")+extension)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(sums)); !slices.Equal(got, want) {
		t.Fatalf("the release has %q, want %q", got, want)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want)+1 {
		t.Errorf("%d files, %v; want the %d with sums, and the sums", len(entries), err, len(want))
	}
	for name, sum := range sums {
		if got, err := sumOf(filepath.Join(dir, name)); err != nil || got != sum {
			t.Errorf("%s: %s, %v; its line says %s", name, got, err, sum)
		}
	}
	for name, sum := range sums { // the manifest for krew is of these archives
		if manifest := read(t, filepath.Join(dir, "scim.yaml")); strings.HasPrefix(name, "kubectl-scim_") && !strings.HasSuffix(name, ".json") && !strings.Contains(manifest, sum) {
			t.Errorf("scim.yaml has no sum of %s\n%s", name, manifest)
		}
	}
	t.Run("plugin", func(t *testing.T) { checkPlugins(t, dir) })
	t.Run("chart", func(t *testing.T) { checkChart(t, dir) })
	t.Run("install.yaml", func(t *testing.T) { checkInstaller(t, dir) })
	t.Run("reproduced", func(t *testing.T) {
		if again := makeRelease(t, copyTree(t), t.TempDir()); !maps.Equal(again, sums) {
			t.Errorf("another place gives %v, want %v", again, sums)
		}
	})
}

// checkPlugins asks of each archive what is in it and for which system, runs that of this machine, and compares the bill of
// materials with the modules that the programs name.
func checkPlugins(t *testing.T, dir string) {
	var modules map[string]string
	ran := false
	for _, platform := range platforms() {
		system, arch, _ := strings.Cut(platform, "/")
		base := filepath.Join(dir, fmt.Sprintf("kubectl-scim_%s_%s_%s", version, system, arch))
		out, program := t.TempDir(), "kubectl-scim"
		var names []string
		if system == "windows" {
			program += ".exe"
			names = unzip(t, base+".zip", out)
		} else {
			files, err := unpack(base+".tar.gz", out)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				names = append(names, f.name)
			}
		}
		slices.Sort(names)
		if want := []string{"LICENSE", program, "kubectl_complete-scim"}; !slices.Equal(names, want) {
			t.Errorf("%s: %q, want %q", platform, names, want)
		}
		info, err := buildinfo.ReadFile(filepath.Join(out, program))
		if err != nil {
			t.Fatalf("%s: %v", platform, err)
		}
		settings := map[string]string{}
		for _, setting := range info.Settings {
			settings[setting.Key] = setting.Value
		}
		if settings["GOOS"] != system || settings["GOARCH"] != arch || settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" {
			t.Errorf("%s: built with %v", platform, settings)
		}
		if modules == nil { // the first platform is that of the bill
			modules = map[string]string{}
			for _, module := range info.Deps {
				modules[module.Path] = module.Version
			}
		}
		if system == runtime.GOOS && arch == runtime.GOARCH {
			ran = true
			path := filepath.Join(out, program)
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
			if output, err := exec.CommandContext(t.Context(), path, "--version").CombinedOutput(); err != nil || !strings.Contains(string(output), version) {
				t.Errorf("%s --version: %s, %v", program, output, err)
			}
		}
	}
	if !ran {
		t.Errorf("%q has no program for this machine", platforms())
	}
	listed := map[string]string{}
	var bill struct {
		BOMFormat string
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		Components []struct {
			Name, Version      string
			Licenses, Evidence any
		}
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "kubectl-scim_"+version+".cdx.json"))), &bill); err != nil {
		t.Fatal(err)
	}
	for _, component := range bill.Components {
		if component.Name != "std" {
			listed[component.Name] = component.Version
		}
	}
	if bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Version != version || !maps.Equal(listed, modules) {
		t.Errorf("the bill of %s %s in %s lists %v, the program is linked of %v", bill.Metadata.Component.Name, bill.Metadata.Component.Version, bill.BOMFormat, listed, modules)
	}
}

func unzip(t *testing.T, path, dir string) (names []string) {
	t.Helper()
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, entry := range archive.File {
		opened, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(opened)
		if err != nil {
			t.Fatal(err)
		}
		opened.Close()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(entry.Name)), data, 0o700); err != nil {
			t.Fatal(err)
		}
		names = append(names, entry.Name)
	}
	return names
}

// checkChart has Helm render the packed chart: with its defaults it deploys the image of its own version.
func checkChart(t *testing.T, dir string) {
	command := exec.CommandContext(t.Context(), "go", "tool", "-modfile=hack/tools/helm/go.mod", "helm", "template", "x",
		filepath.Join(dir, "scim-operator-9.8.7.tgz"), "--kube-version", "1.34.0")
	command.Dir = root
	var complaints bytes.Buffer
	command.Stderr = &complaints
	rendered, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	if got := bytes.Count(rendered, []byte("image: scim-operator:"+version+"\n")); got != 2 {
		t.Errorf("%d containers have the image of the version, want 2\n%s", got, rendered)
	}
}

// checkInstaller looks for the image in both Deployments, and for what guards an installation.
func checkInstaller(t *testing.T, dir string) {
	manifest := read(t, filepath.Join(dir, "install.yaml"))
	definitions, err := filepath.Glob(root + "config/crd/bases/*.yaml")
	if err != nil || len(definitions) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	for text, want := range map[string]int{"image: " + image + "\n": 2, "\nkind: Deployment\n": 2, "\nkind: CustomResourceDefinition\n": len(definitions)} {
		if got := strings.Count(manifest, text); got != want {
			t.Errorf("%q is there %d times, want %d", text, got, want)
		}
	}
	if !strings.Contains(manifest, "\nkind: ValidatingAdmissionPolicyBinding\n") {
		t.Error("the admission policies are not in it")
	}
}
