// Package krew writes the manifest by which krew, the package manager of kubectl plugins, installs `kubectl scim`.
package krew

import (
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"text/template"
)

//go:embed scim.yaml
var manifest string

// version is what krew takes: a semantic version with its v.
var version = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

// IsVersion says whether a version can be in a manifest.
func IsVersion(text string) bool { return version.MatchString(text) }

// Platform is a system that the plugin is built for.
type Platform struct{ OS, Arch string }

// platform is one with what the release calls its archive, and the program in that.
type platform struct {
	Platform
	Archive, Program string
}

// Render writes the manifest of a release. sum returns the SHA-256 of an archive by its name, in hexadecimal. It fails for a version
// that krew does not take, and with the errors of sum and of the writer.
func Render(out io.Writer, release string, platforms []Platform, sum func(archive string) (string, error)) error {
	if !IsVersion(release) {
		return fmt.Errorf("krew: %q is no semantic version with its v", release)
	}
	data := struct {
		Version   string
		Platforms []platform
	}{Version: release}
	for _, p := range platforms {
		built := platform{Platform: p, Program: "kubectl-scim"}
		suffix := ".tar.gz"
		if p.OS == "windows" {
			suffix, built.Program = ".zip", "kubectl-scim.exe"
		}
		built.Archive = fmt.Sprintf("kubectl-scim_%s_%s_%s%s", release, p.OS, p.Arch, suffix)
		data.Platforms = append(data.Platforms, built)
	}
	parsed, err := template.New("scim.yaml").Funcs(template.FuncMap{"sha256": sum}).Parse(manifest)
	if err != nil {
		return err
	}
	return parsed.Execute(out, data)
}
