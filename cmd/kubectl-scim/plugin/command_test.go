package plugin

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// run returns how a command line ends, and what it prints.
func run(t *testing.T, line string) (int, string) {
	t.Helper()
	out := &bytes.Buffer{}
	status := Run(t.Context(), genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: out}, "test", strings.Fields(line))
	return status, out.String()
}

// What is wrong with a command line is told with the way to put it right.
func TestWrongArguments(t *testing.T) {
	for line, want := range map[string]string{
		"test":                "error: accepts 1 arg(s), received 0: usage: kubectl scim test APP [flags]",
		"token rotate a b":    "error: accepts 1 arg(s), received 2: usage: kubectl scim token rotate TOKEN [flags]",
		"person erase":        "usage: kubectl scim person erase NAME... [flags]",
		"export x":            "usage: kubectl scim export [flags]",
		"explain --wide jane": "error: unknown flag: --wide: see kubectl scim explain --help",
		"token create --expires-in month quickstart": `see kubectl scim token create --help`,
	} {
		if status, out := run(t, line); status != exitFailed || !strings.Contains(out, want) {
			t.Errorf("kubectl scim %s ends with %d: %s", line, status, out)
		}
	}
}

// A word that is no command is refused, at the top and below, and a command with others below it shows its help.
func TestUnknownCommands(t *testing.T) {
	for line, want := range map[string]string{
		"get groups": `unknown command "groups" for "kubectl scim get"`, "token make": "unknown command", "oauth grant X": "unknown command",
		"person show": "unknown command", "bogus": "unknown command",
	} {
		if status, out := run(t, line); status != exitFailed || !strings.Contains(out, want) || strings.Contains(out, "Usage:") {
			t.Errorf("kubectl scim %s ends with %d: %s", line, status, out)
		}
	}
	for _, group := range []string{"get", "token", "oauth", "person", ""} {
		if status, out := run(t, group); status != exitDone || !strings.Contains(out, "Available Commands") {
			t.Errorf("kubectl scim %s ends with %d: %s", group, status, out)
		}
	}
}

func TestTimesOfTokens(t *testing.T) {
	for _, test := range []struct {
		flags tokenFlags
		want  string
	}{
		{tokenFlags{}, ""}, {tokenFlags{expiresIn: 1, overlap: 1}, ""},
		{tokenFlags{expiresIn: -1}, "--expires-in -1ns"}, {tokenFlags{overlap: -1}, "--overlap -1ns"},
	} {
		if err := test.flags.check(); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.flags, err, test.want)
		}
	}
}
