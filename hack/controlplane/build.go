package controlplane

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// moduleFiles are the modules to build from: etcd's, and one for each version of Kubernetes. They carry the suffix .txt because a
// directory with a go.mod is a module of its own, which go:embed leaves out.
//
//go:embed src
var moduleFiles embed.FS

const tickInterval = 15 * time.Second

// source tells where a binary comes from: one of the embedded modules, and a package.
type source struct{ module, pkg, ldflags string }

// sourceOf gives every version of Kubernetes the same etcd.
func sourceOf(binary, version string) source {
	if binary == "etcd" {
		return source{module: "etcd", pkg: "go.etcd.io/etcd/server/v3", ldflags: "-s -w"}
	}
	return source{
		module:  "kubernetes-" + minorOf(version),
		pkg:     "k8s.io/kubernetes/cmd/" + binary,
		ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=" + version,
	}
}

// buildBinary compiles one binary into the directory; the name appears when it is whole.
func buildBinary(ctx context.Context, version, binary, into string, progress io.Writer) error {
	src := sourceOf(binary, version)
	moduleDir := filepath.Join(into, "src", src.module)
	if err := materialise(src.module, moduleDir); err != nil {
		return fmt.Errorf("writing the module to build %s from: %w", binary, err)
	}
	temporary := filepath.Join(into, "."+binary+".building")
	defer func() { _ = os.Remove(temporary) }()

	command := exec.CommandContext(ctx, "go", "build", "-v", "-mod=mod", "-trimpath", "-ldflags", src.ldflags, "-o", temporary, src.pkg)
	command.Dir = moduleDir
	// A workspace or a cross-compilation of the caller's is not meant for this build.
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS=", "GOARCH=", "PWD="+moduleDir)
	command.WaitDelay = 5 * time.Second
	output := newBuildOutput()
	command.Stdout, command.Stderr = output, output

	say(progress, "building %s (first time only, several minutes)…", binary)
	started := time.Now()
	if err := runTicking(command, func() {
		say(progress, "building %s: %s, %s", binary, output, time.Since(started).Round(time.Second))
	}); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("building %s: %w\n%s", binary, err, output.failure())
	}
	if err := os.Rename(temporary, filepath.Join(into, binary)); err != nil {
		return err
	}
	say(progress, "built %s in %s", binary, time.Since(started).Round(time.Second))
	return nil
}

// runTicking runs the command and calls tick at each tickInterval until it has ended.
func runTicking(command *exec.Cmd, tick func()) error {
	if err := command.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("%w: the go command is needed", err)
		}
		return err
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			tick()
		}
	}
}

// materialise writes an embedded module to disk, each file without its suffix .txt.
func materialise(module, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	folder := path.Join("src", module)
	entries, err := moduleFiles.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		data, err := moduleFiles.ReadFile(path.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(entry.Name(), ".txt")
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// buildOutput counts what `go build -v` says, and keeps the rest for an error message.
type buildOutput struct {
	mu         sync.Mutex
	line       bytes.Buffer
	downloaded int
	compiled   int
	other      []string
}

func newBuildOutput() *buildOutput { return &buildOutput{} }

func (b *buildOutput) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.line.Write(data)
	for {
		end := bytes.IndexByte(b.line.Bytes(), '\n')
		if end < 0 {
			return len(data), nil
		}
		b.count(strings.TrimSpace(string(b.line.Next(end + 1))))
	}
}

func (b *buildOutput) count(line string) {
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		b.downloaded++
	case line != "" && !strings.ContainsAny(line, " :#"): // -v prints bare import paths
		b.compiled++
	default:
		b.other = append(b.other, line)
	}
}

// String is the progress in words.
func (b *buildOutput) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprintf("%d modules downloaded, %d packages compiled", b.downloaded, b.compiled)
}

// failure is what the compiler said, its last 40 lines at most.
func (b *buildOutput) failure() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.other
	if rest := strings.TrimSpace(b.line.String()); rest != "" {
		lines = append(lines, rest)
	}
	if len(lines) > 40 {
		lines = lines[len(lines)-40:]
	}
	return strings.Join(lines, "\n")
}
