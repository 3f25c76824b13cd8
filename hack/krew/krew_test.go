package krew

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// plugin has the fields that krew documents for v1alpha2 (krew.sigs.k8s.io/docs/developer-guide/plugin-manifest). Others are refused.
type plugin struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string `json:"version"`
		Homepage         string `json:"homepage"`
		ShortDescription string `json:"shortDescription"`
		Description      string `json:"description"`
		Caveats          string `json:"caveats"`
		Platforms        []struct {
			Selector *metav1.LabelSelector `json:"selector"`
			URI      string                `json:"uri"`
			SHA256   string                `json:"sha256"`
			Bin      string                `json:"bin"`
			Files    []struct {
				From string `json:"from"`
				To   string `json:"to"`
			} `json:"files"`
		} `json:"platforms"`
	} `json:"spec"`
}

func sumOf(archive string) (string, error) {
	sum := sha256.Sum256([]byte(archive))
	return hex.EncodeToString(sum[:]), nil
}

var platforms = []Platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"}}

// The manifest has every field that krew asks for, none that it does not know, and an archive for each platform.
func TestManifest(t *testing.T) {
	var out bytes.Buffer
	if err := Render(&out, "v1.2.3", platforms, sumOf); err != nil {
		t.Fatal(err)
	}
	var p plugin
	if err := yaml.UnmarshalStrict(out.Bytes(), &p); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if p.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || p.Kind != "Plugin" || p.Metadata.Name != "scim" || p.Spec.Version != "v1.2.3" {
		t.Errorf("%s %s %s %s", p.APIVersion, p.Kind, p.Metadata.Name, p.Spec.Version)
	}
	// krew's index takes short descriptions of up to 50 characters on one line, and lines of 80 in the others.
	if short := p.Spec.ShortDescription; short == "" || len(short) > 50 || strings.ContainsAny(short, "\r\n") || strings.HasSuffix(short, ".") {
		t.Errorf("the short description is %q, with %d characters", short, len(short))
	}
	for line := range strings.Lines(p.Spec.Description + p.Spec.Caveats) {
		if len(strings.TrimRight(line, "\n")) > 80 {
			t.Errorf("%d characters in a line: %s", len(line), line)
		}
	}
	if home, err := url.Parse(p.Spec.Homepage); err != nil || home.Scheme != "https" {
		t.Errorf("homepage %q: %v", p.Spec.Homepage, err)
	}
	if p.Spec.Description == "" || p.Spec.Caveats == "" || len(p.Spec.Platforms) != len(platforms) {
		t.Errorf("the manifest lacks a description, caveats or platforms:\n%s", out.String())
	}
	for i, built := range p.Spec.Platforms {
		want := platforms[i]
		if len(built.Selector.MatchExpressions) > 0 || len(built.Selector.MatchLabels) != 2 ||
			built.Selector.MatchLabels["os"] != want.OS || built.Selector.MatchLabels["arch"] != want.Arch {
			t.Errorf("platform %d is selected by %v, want %v", i, built.Selector, want)
		}
		source, err := url.Parse(built.URI)
		if err != nil || source.Scheme != "https" || !strings.HasSuffix(path.Dir(source.Path), "/releases/download/v1.2.3") {
			t.Errorf("uri %q: %v", built.URI, err)
			continue
		}
		archive := path.Base(source.Path)
		name, program := fmt.Sprintf("kubectl-scim_v1.2.3_%s_%s.tar.gz", want.OS, want.Arch), "kubectl-scim"
		if want.OS == "windows" {
			name, program = strings.Replace(name, ".tar.gz", ".zip", 1), "kubectl-scim.exe"
		}
		if sum, _ := sumOf(name); archive != name || built.SHA256 != sum || !regexp.MustCompile(`^[a-f0-9]{64}$`).MatchString(built.SHA256) {
			t.Errorf("archive %s with sum %s, want %s", archive, built.SHA256, name)
		}
		if built.Bin != program || built.Files != nil {
			t.Errorf("program %q of files %v", built.Bin, built.Files)
		}
	}
}

func TestManifestOfNoRelease(t *testing.T) {
	for text, want := range map[string]bool{
		"v1.2.3": true, "v0.1.0": true, "v1.2.3-rc.1": true, "1.2.3": false, "v1.2": false, "dev": false, "v1.2.3-4-gabc123": true, "v01.2.3": false, "v1.2.3\n": false, "": false,
	} {
		if err := Render(&bytes.Buffer{}, text, platforms, sumOf); (err == nil) != want || IsVersion(text) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	missing := errors.New("no such archive")
	if err := Render(&bytes.Buffer{}, "v1.2.3", platforms, func(string) (string, error) { return "", missing }); !errors.Is(err, missing) {
		t.Errorf("an archive that is not there: %v", err)
	}
}
