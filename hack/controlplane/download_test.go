package controlplane

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// archiveOf packs files of that name, each with its name as content, as release archives do.
func archiveOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	compressed := gzip.NewWriter(&b)
	files := tar.NewWriter(compressed)
	for _, name := range names {
		if err := files.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(name))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(files, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := compressed.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// releaseServer serves an index at /index that lists the archive under the version and digest.
func releaseServer(t *testing.T, version string, archive []byte, digest string) string {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("GET /archive", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) })
	mux.HandleFunc("GET /index", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "releases:\n  %s:\n    envtest-%s-%s-%s.tar.gz:\n      hash: %s\n      selfLink: %s/archive\n",
			version, version, runtime.GOOS, runtime.GOARCH, digest, server.URL)
	})
	return server.URL + "/index"
}

func digestOf(data []byte) string {
	sum := sha512.Sum512(data)
	return hex.EncodeToString(sum[:])
}

func TestDownloadUnpacksTheBinaries(t *testing.T) {
	archive := archiveOf(t, "controller-tools/envtest/etcd", "controller-tools/envtest/kube-apiserver",
		"controller-tools/envtest/kubectl", "controller-tools/envtest/../../../escaped")
	into := t.TempDir()
	if err := downloadFrom(t.Context(), releaseServer(t, Version, archive, digestOf(archive)), Version, into, io.Discard); err != nil {
		t.Fatal(err)
	}
	if absent := missing(into, coreBinaries); len(absent) > 0 {
		t.Errorf("missing %q", absent)
	}
	entries, err := os.ReadDir(into)
	if err != nil || len(entries) != len(coreBinaries) {
		t.Errorf("%d files, error %v, want only the %d binaries", len(entries), err, len(coreBinaries))
	}
	content, err := os.ReadFile(filepath.Join(into, "etcd"))
	if err != nil || string(content) != "controller-tools/envtest/etcd" {
		t.Errorf("content %q, error %v", content, err)
	}
}

func TestDownloadRefusesWhatItCannotTrust(t *testing.T) {
	archive := archiveOf(t, "etcd", "kube-apiserver", "kubectl")
	closed := httptest.NewServer(http.NotFoundHandler())
	defer closed.Close()
	for name, test := range map[string]struct{ indexURL, failure string }{
		"another digest":  {releaseServer(t, Version, archive, digestOf([]byte("else"))), "checksum"},
		"another version": {releaseServer(t, "v1.2.3", archive, digestOf(archive)), "1.37.x"},
		"a cut archive":   {releaseServer(t, Version, archive[:len(archive)/2], digestOf(archive[:len(archive)/2])), "EOF"},
		"no list":         {closed.URL, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			into := t.TempDir()
			if err := downloadFrom(t.Context(), test.indexURL, Version, into, io.Discard); !contains(err, test.failure) {
				t.Fatalf("error %v, want one with %q", err, test.failure)
			}
			if absent := missing(into, coreBinaries); len(absent) == 0 {
				t.Error("the binaries are there all the same")
			}
		})
	}
}

func TestReleaseToUse(t *testing.T) {
	for name, test := range map[string]struct{ list, want string }{
		"the very version":        {"(available)  v1.37.2  linux/amd64\n(available)  v1.37.0  linux/amd64\n", "1.37.0"},
		"the newest of the minor": {"(available)  v1.37.2  linux/amd64\n(available)  v1.37.01  linux/amd64\n", "1.37.x!"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := releaseToUse(test.list, "v1.37.0"); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestBuildOutputCounts(t *testing.T) {
	output := newBuildOutput()
	for _, part := range []string{"go: downloading k8s.io/api v0.37.0\nk8s.io/", "api/core/v1\nunicode/utf8\n", "# k8s.io/x\nfile.go:1:2: undefined: y"} {
		if _, err := io.WriteString(output, part); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := output.String(), "1 modules downloaded, 2 packages compiled"; got != want {
		t.Errorf("progress %q, want %q", got, want)
	}
	if got, want := output.failure(), "# k8s.io/x\nfile.go:1:2: undefined: y"; got != want {
		t.Errorf("failure %q, want %q", got, want)
	}
}

func TestModulesAreWholeAndOfTheirVersion(t *testing.T) {
	modules := []string{"etcd", "envtest"}
	for _, version := range versions {
		modules = append(modules, sourceOf("kubectl", version).module)
	}
	for _, module := range modules {
		dir := t.TempDir()
		if err := materialise(module, dir); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"go.mod", "go.sum"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	}
	for _, version := range versions {
		module, err := moduleFiles.ReadFile("src/kubernetes-" + minorOf(version) + "/go.mod.txt")
		if err != nil || !slices.Contains(bytesLines(module), "require k8s.io/kubernetes "+version) {
			t.Errorf("the module to build from does not require Kubernetes %s (error %v)", version, err)
		}
		staging := "v0" + strings.TrimPrefix(version, "v1")
		replaced := 0
		for _, line := range bytesLines(module) {
			if strings.HasPrefix(line, "replace ") {
				replaced++
			}
			if strings.HasPrefix(line, "replace ") && !strings.HasSuffix(line, " "+staging) {
				t.Errorf("Kubernetes %s: %s", version, line)
			}
		}
		if replaced == 0 {
			t.Errorf("the module of Kubernetes %s replaces nothing", version)
		}
	}
}

func bytesLines(data []byte) []string {
	var lines []string
	for line := range bytes.Lines(data) {
		lines = append(lines, string(bytes.TrimSpace(line)))
	}
	return lines
}
