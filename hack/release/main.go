// Command release writes what a version consists of into a folder: archives of the kubectl plugin for each platform, the chart,
// install.yaml, bills of materials of both programs, and the sums of all files that are there at the end. From the same commit, by
// the same Go, all of it comes out byte for byte the same. make release calls it; docs/release.md says what each file is for.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/scim-operator/scim-operator/hack/krew"
)

// release is what is built, from the tree in the current folder.
type release struct {
	version, commit string
	dir, installer  string
	platforms       []platform
	// when is the time of every file in an archive: that of the commit.
	when time.Time
}

type platform struct{ os, arch string }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	r := release{}
	flags.StringVar(&r.version, "version", "", "what is released, such as v0.1.0")
	flags.StringVar(&r.commit, "commit", "", "the commit that it is built from")
	flags.StringVar(&r.installer, "installer", "", "the rendered manifest that becomes install.yaml")
	flags.StringVar(&r.dir, "dir", "dist", "the folder that is written")
	platforms := flags.String("platforms", "", "of the plugin, such as linux/amd64,windows/arm64")
	epoch := flags.Int64("epoch", 0, "the time of the files in archives, in seconds since 1970")
	sums := flags.Bool("checksums", false, "write the sums of what is in the folder, and nothing else")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *sums {
		return checksums(r.dir)
	}
	if !versionPattern.MatchString(r.version) {
		return fmt.Errorf("-version %q: letters, digits, dots and hyphens are a version", r.version)
	}
	for name := range strings.FieldsFuncSeq(*platforms, func(r rune) bool { return r == ',' || r == ' ' }) {
		system, arch, found := strings.Cut(name, "/")
		if !found {
			return fmt.Errorf("-platforms: %q is no OS/ARCH", name)
		}
		r.platforms = append(r.platforms, platform{system, arch})
	}
	if len(r.platforms) == 0 {
		return fmt.Errorf("-platforms names none")
	}
	r.when = time.Unix(*epoch, 0).UTC()
	return r.write(ctx)
}

var versionPattern = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.-]*$`)

// write writes everything but the sums.
func (r release) write(ctx context.Context) error {
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	if err := copyFile(r.installer, filepath.Join(r.dir, "install.yaml")); err != nil {
		return err
	}
	if err := r.chart(ctx, work); err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	operator := filepath.Join(work, "scim-operator")
	if err := r.build(ctx, "./cmd/scim-operator", operator, platform{"linux", "amd64"}); err != nil {
		return err
	}
	if err := r.materials(ctx, operator, "scim-operator"); err != nil {
		return err
	}
	for i, platform := range r.platforms {
		program := filepath.Join(work, platform.os+"-"+platform.arch, "kubectl-scim"+platform.extension())
		if err := r.build(ctx, "./cmd/kubectl-scim", program, platform); err != nil {
			return err
		}
		if i == 0 {
			if err := r.materials(ctx, program, "kubectl-scim"); err != nil {
				return err
			}
		}
		if err := r.plugin(program, platform); err != nil {
			return err
		}
	}
	return r.krew()
}

// krew writes the manifest for krew, which takes only versions of its own form, where this is one.
func (r release) krew() error {
	if !krew.IsVersion(r.version) {
		return nil
	}
	var platforms []krew.Platform
	for _, platform := range r.platforms {
		platforms = append(platforms, krew.Platform{OS: platform.os, Arch: platform.arch})
	}
	return create(filepath.Join(r.dir, "scim.yaml"), func(out io.Writer) error {
		return krew.Render(out, r.version, platforms, func(archive string) (string, error) { return sumOf(filepath.Join(r.dir, archive)) })
	})
}

func (p platform) extension() string {
	if p.os == "windows" {
		return ".exe"
	}
	return ""
}

// build compiles a command as the Makefile and the Dockerfile do. Without the state of the repository in it, a copy of the tree
// gives the same program: the version and the commit are arguments.
func (r release) build(ctx context.Context, command, program string, to platform) error {
	return execute(ctx, []string{"CGO_ENABLED=0", "GOOS=" + to.os, "GOARCH=" + to.arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS="},
		"go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace",
		"-ldflags", "-s -w -X main.version="+r.version+" -X main.commit="+r.commit, "-o", program, command)
}

// plugin packs the plugin for one platform, as krew takes it.
func (r release) plugin(program string, to platform) error {
	name := filepath.Join(r.dir, fmt.Sprintf("kubectl-scim_%s_%s_%s", r.version, to.os, to.arch))
	files := []file{
		{"LICENSE", "LICENSE", 0o644},
		{filepath.Base(program), program, 0o755},
		{"kubectl_complete-scim", "cmd/kubectl-scim/kubectl_complete-scim", 0o755},
	}
	if to.os == "windows" {
		return writeZip(name+".zip", files, r.when)
	}
	return writeTar(name+".tar.gz", files, r.when)
}

// materials writes what a program is linked of, as CycloneDX has it, from the program itself.
func (r release) materials(ctx context.Context, program, name string) error {
	return execute(ctx, nil, "go", "tool", "-modfile=hack/tools/sbom/go.mod", "cyclonedx-gomod", "bin", "-json", "-noserial", "-notimestamp", "-licenses",
		"-version", r.version, "-output", filepath.Join(r.dir, name+"_"+r.version+".cdx.json"), program)
}

// chart packs the chart. Helm has it carry the version, and its own times; the archive is written anew, with those of the commit.
func (r release) chart(ctx context.Context, work string) error {
	err := execute(ctx, nil, "go", "tool", "-modfile=hack/tools/helm/go.mod", "helm", "package", "charts/scim-operator",
		"--version", chartVersion(r.version), "--app-version", r.version, "--destination", work)
	if err != nil {
		return err
	}
	packed := filepath.Join(work, "scim-operator-"+chartVersion(r.version)+".tgz")
	files, err := unpack(packed, filepath.Join(work, "chart"))
	if err != nil {
		return err
	}
	return writeTar(filepath.Join(r.dir, filepath.Base(packed)), files, r.when)
}

var semantic = regexp.MustCompile(`^v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)$`)

// chartVersion is a version as Helm takes it: of a tag without its v, of anything else a pre-release of 0.0.0.
func chartVersion(version string) string {
	if found := semantic.FindStringSubmatch(version); found != nil {
		return found[1]
	}
	return "0.0.0-g" + strings.ReplaceAll(version, ".", "-")
}

// checksums writes the sums of all files in the folder, for sha256sum --check.
func checksums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, entry := range entries {
		if entry.IsDir() || entry.Name() == sumsName {
			continue
		}
		sum, err := sumOf(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, entry.Name())
	}
	return os.WriteFile(filepath.Join(dir, sumsName), []byte(b.String()), 0o644)
}

const sumsName = "checksums.txt"

func sumOf(path string) (string, error) {
	opened, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = opened.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, opened); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func execute(ctx context.Context, env []string, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), env...)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{name}, args...), " "), err, output)
	}
	return nil
}
