package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/hack/controlplane"
	"github.com/scim-operator/scim-operator/hack/process"
)

// terminal is where the dev command prints to.
type terminal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *terminal) Write(data []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(data)
}

func (t *terminal) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// buildPrograms compiles the dev command and, beside it, the operator that it runs. It returns the former's path.
func buildPrograms(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, pkg := range []string{".", "../../../cmd/scim-operator"} {
		if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", pkg).CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", pkg, err, output)
		}
	}
	return filepath.Join(dir, "run")
}

// The error says which file is missing, and how to make it.
func TestDevCommandWithoutAnOperator(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "scim-operator")
	command := newCommand()
	command.SetArgs([]string{"--operator", missing, "--dir", t.TempDir()})
	if err := command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "make build") {
		t.Errorf("error %v", err)
	}
}

// startDev runs the dev command in the directory and returns once it says that all is ready.
func startDev(t *testing.T, program, dir string) (*process.Process, *terminal) {
	t.Helper()
	listen, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	screen := &terminal{}
	p, err := process.Start(process.Options{Name: "dev", Path: program, Args: []string{"--dir", dir, "--listen", listen}, Log: screen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(30 * time.Second) })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := p.WaitReady(ctx, func(context.Context) error {
		if !strings.Contains(screen.String(), "Deactivate her") {
			return errors.New("nothing to try is printed yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return p, screen
}

// printedCommands returns the indented lines under the heading, as a person would copy them.
func printedCommands(t *testing.T, screen *terminal, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(screen.String(), "\n"+heading)
	if !found {
		t.Fatalf("%q is not printed:\n%s", heading, screen)
	}
	_, rest, _ = strings.Cut(rest, "\n\n")
	commands, _, _ := strings.Cut(rest, "\n\n")
	return commands
}

// inAnotherTerminal runs commands by a fresh shell that has read the file env first.
func inAnotherTerminal(t *testing.T, dir, commands string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "/bin/sh", "-c", `. "$0"/env && { `+commands+"\n}", dir)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	// kubectl auth can-i answers no with exit status 1.
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || strings.TrimSpace(string(output)) != "no") {
		t.Fatalf("%s\n%v\n%s%s", commands, err, output, &stderr)
	}
	return string(output)
}

// What `make run` prints is what a newcomer tries first: each printed command is run as it
// stands, and once more after a restart on the same data.
func TestDevCommandAndWhatItPrints(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("the printed commands need curl: ", err)
	}
	if _, err := controlplane.Ensure(t.Context(), os.Stderr); err != nil {
		t.Fatal(err)
	}
	program := buildPrograms(t)
	dir := filepath.Join(t.TempDir(), "dev dir")
	p, screen := startDev(t, program, dir)
	answerWhenGone(t, dir)
	for _, noise := range []string{"log.SetLogger", "goroutine ", "healthz check failed"} {
		if strings.Contains(screen.String(), noise) {
			t.Errorf("a start prints %q:\n%s", noise, screen)
		}
	}

	id, active := userOf(t, inAnotherTerminal(t, dir, printedCommands(t, screen, "Create a user as Okta does:")))
	if !active {
		t.Error("the created user is not active")
	}
	canI := "kubectl auth can-i create pods --namespace team-a --as okta:jane@example.com"
	waitForOutput(t, dir, canI, "yes")
	if listed := inAnotherTerminal(t, dir, printedCommands(t, screen, "See her, and what she may do:")); !strings.Contains(listed, "jane@example.com") {
		t.Errorf("kubectl get suser does not show her:\n%s", listed)
	}
	deactivated, active := userOf(t, inAnotherTerminal(t, dir, printedCommands(t, screen, "Deactivate her, and ask again:")))
	if deactivated != id || active {
		t.Errorf("deactivation answers with id %q, active %t, want id %q, active false", deactivated, active, id)
	}
	// The answer has waited until her roles were gone: no time is given here.
	if got := strings.TrimSpace(inAnotherTerminal(t, dir, canI)); got != "no" {
		t.Errorf("after the deactivation can-i says %q", got)
	}

	if err := p.Stop(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Fatalf("an interrupted dev command ended with %v\n%s", err, screen)
	}
	_, screen = startDev(t, program, dir)
	again, active := userOf(t, inAnotherTerminal(t, dir, `curl -sS "$SCIM_URL/Users/`+id+`" -H "Authorization: Bearer $SCIM_TOKEN"`))
	if again != id || active {
		t.Errorf("after a restart: id %q, active %t, want id %q, active false\n%s", again, active, id, screen)
	}
}

func userOf(t *testing.T, body string) (id string, active bool) {
	t.Helper()
	var user struct {
		ID     string `json:"id"`
		Active bool   `json:"active"`
	}
	if err := json.Unmarshal([]byte(body), &user); err != nil || user.ID == "" {
		t.Fatalf("not a user (error %v): %s", err, body)
	}
	return user.ID, user.Active
}

// answerWhenGone has a deactivation wait for the end of access on a machine that is busy with other work, too: what is printed looks
// at once.
func answerWhenGone(t *testing.T, dir string) {
	t.Helper()
	inAnotherTerminal(t, dir, `kubectl patch sapp quickstart --type merge -p '{"spec":{"deactivation":{"confirmWithin":"30s"}}}'`)
}

// waitForOutput gives the controller a minute.
func waitForOutput(t *testing.T, dir, commands, want string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		got := strings.TrimSpace(inAnotherTerminal(t, dir, commands))
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s says %q, want %q", commands, got, want)
		}
	}
}
