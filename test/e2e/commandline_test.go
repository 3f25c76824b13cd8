//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/test/e2e/commands"
)

// commandLine runs commands as a person does, in the repository's root.
type commandLine struct {
	root string
	// overlay is what make deploys; empty for config/default.
	overlay string
}

// run executes a command in the repository's root, and returns its output. The error tells it, too.
func (l *commandLine) run(ctx context.Context, name string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = l.root
	if l.overlay != "" {
		command.Env = append(os.Environ(), "CONFIG="+l.overlay)
	}
	command.WaitDelay = 5 * time.Second
	output, err := command.CombinedOutput()
	if err != nil {
		return string(output), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(arguments, " "), err, output)
	}
	return string(output), nil
}

// must runs a command that has to succeed.
func (l *commandLine) must(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	output, err := l.run(t.Context(), name, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// kubectl runs kubectl in the operator's namespace.
func (l *commandLine) kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	return l.must(t, "kubectl", append([]string{"-n", system}, arguments...)...)
}

// shell runs one of the settings' commands.
func (l *commandLine) shell(t *testing.T, command string) {
	t.Helper()
	l.must(t, "sh", "-c", command)
}

// follow runs the commands of a document that a comment there names, as they are written.
func (l *commandLine) follow(t *testing.T, document, name string) string {
	t.Helper()
	text, err := commands.Named(filepath.Join(l.root, document), name)
	if err != nil {
		t.Fatal(err)
	}
	return l.must(t, "sh", "-e", "-c", text)
}

func (l *commandLine) applyText(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "part.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "kubectl apply", func(ctx context.Context) error {
		_, err := l.run(ctx, "kubectl", "apply", "--server-side", "--force-conflicts", "-f", file)
		return err
	})
}

func (l *commandLine) helmUpgrade(t *testing.T, values string) {
	t.Helper()
	l.must(t, "helm", "--namespace", system, "upgrade", "scim-operator", "charts/scim-operator", "--reset-then-reuse-values", "--values", values)
}

// reached says of addresses whether the probe of a namespace gets a connection.
func (l *commandLine) reached(ctx context.Context, namespace string, addresses ...string) (map[string]bool, error) {
	output, err := l.run(ctx, "kubectl", append([]string{"-n", namespace, "exec", "probe", "--", "/probe", "dial"}, addresses...)...)
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for line := range strings.Lines(output) {
		if address, result, found := strings.Cut(strings.TrimSpace(line), " "); found {
			open[address] = result == "open"
		}
	}
	if len(open) != len(addresses) {
		return nil, fmt.Errorf("asked for %d addresses, the probe says:\n%s", len(addresses), output)
	}
	return open, nil
}

// awaitReach wants addresses to be open, or closed, to the probe of a namespace, once the policies are in force.
func (l *commandLine) awaitReach(t *testing.T, namespace string, want map[string]bool) {
	t.Helper()
	eventually(t, enforcement, "what is reached from namespace "+namespace, func(ctx context.Context) error {
		got, err := l.reached(ctx, namespace, slices.Sorted(maps.Keys(want))...)
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("open is %v, want %v", got, want)
		}
		return err
	})
}
