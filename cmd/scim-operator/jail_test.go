package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/hack/process"
)

// largestBinary is what one may be at most, in bytes: an image is pulled on the way to every start on a new node.
const largestBinary = 60 << 20

// jailKubeconfig points to a port at which nothing listens.
const jailKubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`

// newJail builds the binary as the Makefile and the Dockerfile do, alone in a directory that is not writable, as the image's
// root file system is: no /tmp, no home, no shell.
func newJail(t *testing.T) (root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(root, "scim-operator")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=jailed -X main.commit=0123abc", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if err := os.WriteFile(filepath.Join(root, "kubeconfig"), []byte(jailKubeconfig), 0o444); err != nil {
		t.Fatal(err)
	}
	// Directories of t.TempDir are private to the user that runs the test.
	for dir := filepath.Dir(root); dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(root, 0o755) })
	return root
}

// The binary runs as an unprivileged user without capabilities, on a file system that it cannot write to.
func TestBinaryRunsInAJail(t *testing.T) {
	root := newJail(t)
	info, err := os.Stat(filepath.Join(root, "scim-operator"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the binary has %.1f MB", float64(info.Size())/1e6)
	if info.Size() > largestBinary {
		t.Errorf("the binary has %d bytes, more than %d", info.Size(), largestBinary)
	}
	for _, command := range []struct{ name, says string }{
		{"--help", "controller"}, {"version", "scim-operator jailed (0123abc) go"}, {"server --help", "--listen"}, {"controller --help", "--leader-elect"},
	} {
		t.Run(command.name, func(t *testing.T) {
			output, err := jailed(t.Context(), t, root, strings.Fields(command.name)...).CombinedOutput()
			if err != nil || !strings.Contains(string(output), command.says) {
				t.Errorf("error %v, output:\n%s", err, output)
			}
		})
	}
	for _, command := range []string{"server", "controller"} {
		t.Run(command, func(t *testing.T) { testJailedCommand(t, root, command) })
	}
}

// testJailedCommand has the command look for an API server that is not there.
func testJailedCommand(t *testing.T, root, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := []string{name, "--kubeconfig=/kubeconfig", "--metrics-listen=127.0.0.1:0"}
	health, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	args = append(args, "--health-listen="+health)
	if name == "server" {
		args = append(args, "--listen=127.0.0.1:0")
	} else {
		args = append(args, "--leader-elect-namespace=default")
	}
	output, err := jailed(ctx, t, root, args...).CombinedOutput()
	if ctx.Err() != nil || !errors.As(err, new(*exec.ExitError)) || !bytes.Contains(output, []byte("127.0.0.1:1: connect: connection refused")) {
		t.Errorf("error %v, output:\n%s", err, output)
	}
	if bytes.Contains(output, []byte("panic")) {
		t.Errorf("it panics:\n%s", output)
	}
}

// unjailed returns the same command without a root file system of its own: what it can do is to name no directory that the
// process could write to.
func unjailed(ctx context.Context, root string, args ...string) *exec.Cmd {
	for i := range args {
		args[i] = strings.Replace(args[i], "=/", "="+root+"/", 1)
	}
	command := exec.CommandContext(ctx, filepath.Join(root, "scim-operator"), args...)
	command.Dir, command.Env = root, []string{"TMPDIR=" + root, "HOME=" + root, "XDG_CACHE_HOME=" + root}
	return command
}
