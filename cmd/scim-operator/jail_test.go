package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
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
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w -X main.version=jailed -X main.commit=0123abc", "-o", binary, ".")
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

// testJailedCommand has the command wait for an API server that is not there: it lives, says why it is not ready, answers
// what a client of SCIM understands, and ends at once when it is told to.
func testJailedCommand(t *testing.T, root, name string) {
	p := startOperator(t, name, func(args ...string) *exec.Cmd { return jailed(t.Context(), t, root, args...) }, "--kubeconfig=/kubeconfig")
	waitFor(t, "the cause in /readyz", func() bool {
		status, _, text := ask(t, "http://"+p.health+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "127.0.0.1:1: connect: connection refused")
	})
	for _, path := range []string{"/healthz", "/startupz"} {
		if status, _, text := ask(t, "http://"+p.health+path); status != http.StatusOK {
			t.Errorf("%s answers %d %s: the kubelet would restart it in vain", path, status, text)
		}
	}
	if name == "server" {
		checkRefusal(t, "http://"+p.scim)
	}
	time.Sleep(3 * time.Second) // a dozen attempts
	if _, err := p.end(t); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if told := strings.Count(p.output.String(), "connection refused"); told != 1 {
		t.Errorf("the log tells the cause %d times:\n%s", told, &p.output)
	}
}

// operatorProcess is a server or controller that a test started.
type operatorProcess struct {
	health, scim string // addresses
	command      *exec.Cmd
	output       bytes.Buffer // to be read once the process has ended
	ended        chan error
}

// startOperator starts a server or a controller, as run makes a command of arguments.
func startOperator(t *testing.T, name string, run func(args ...string) *exec.Cmd, kubeconfig ...string) *operatorProcess {
	t.Helper()
	p := &operatorProcess{health: freeAddress(t), scim: freeAddress(t), ended: make(chan error, 1)}
	args := append([]string{name, "--metrics-listen=127.0.0.1:0", "--health-listen=" + p.health}, kubeconfig...)
	if name == "server" {
		args = append(args, "--listen="+p.scim)
	} else {
		args = append(args, "--leader-elect-namespace=default")
	}
	p.command = run(args...)
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.command.Wait() }()
	t.Cleanup(func() { _ = p.command.Process.Kill() })
	return p
}

// end sends SIGTERM, and returns how long the process took to end, and how it did.
func (p *operatorProcess) end(t *testing.T) (time.Duration, error) {
	t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told := time.Now()
	select {
	case err := <-p.ended:
		return time.Since(told), err
	case <-time.After(time.Minute):
		t.Fatal("it goes on after SIGTERM")
		return 0, nil
	}
}

// checkRefusal asks for what there is and what there is not, with a token and without.
func checkRefusal(t *testing.T, url string) {
	t.Helper()
	for _, path := range []string{"/scim/v2/Users", "/scim/v2/ServiceProviderConfig", "/nowhere"} {
		status, header, text := ask(t, url+path)
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); status != http.StatusTooManyRequests || err != nil || seconds < 1 {
			t.Errorf("%s: %d, Retry-After %q", path, status, header.Get("Retry-After"))
		}
		var problem struct{ Schemas []string }
		if err := json.Unmarshal([]byte(text), &problem); err != nil || !slices.Contains(problem.Schemas, "urn:ietf:params:scim:api:messages:2.0:Error") {
			t.Errorf("%s: not a SCIM error (%v): %s", path, err, text)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// ask returns status 0 where nothing listens.
func ask(t *testing.T, url string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// waitFor fails the test where the condition does not hold within a minute.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
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
