package plugin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// leaves returns the commands that do something, found by the help of each, and that help.
func leaves(a account, command ...string) map[string]string {
	help := a.scim(append(slices.Clone(command), "--help")...).expect(0).out
	_, rest, found := strings.Cut(help, "Available Commands:\n")
	if !found {
		return map[string]string{strings.Join(command, " "): help}
	}
	all := map[string]string{}
	for line := range strings.Lines(rest) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			break
		}
		if name == "help" || name == "completion" || name == "version" {
			continue
		}
		for leaf, help := range leaves(a, append(slices.Clone(command), name)...) {
			all[leaf] = help
		}
	}
	return all
}

// formats finds the values of -o in a command's help.
var formats = regexp.MustCompile(`output format: ([a-z|]+)`)

// Each command of the plugin prints each format that its help names, as what it is, and none to a file in colours; an unknown one is refused
// with those that there are. The shell completes the names of Apps, users and tokens, and the formats. A command that is new is asked for.
func TestFormatsAndCompletionOfEachCommand(t *testing.T) {
	app := newApp(t, nil)
	create(t, app, "ada@example.com", `, "role": "developer"`)
	evaluated(t, app.Namespace, 1)
	a := admin(t, app.Namespace)
	a.scim("token", "create", app.Name, "--name", "first").expect(0)
	file := filepath.Join(t.TempDir(), "app.yaml")
	object := &v1alpha1.App{}
	must(t, h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object))
	manifest, err := yaml.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "App", "metadata": map[string]string{"namespace": app.Namespace, "name": app.Name}, "spec": object.Spec,
	})
	must(t, err)
	must(t, os.WriteFile(file, manifest, 0o600))
	secret := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(secret, []byte(app.Token), 0o600))
	url := []string{"--url", h.Server.URL + "/scim/v2", "--token-file", secret}
	const ada = "ada@example.com"
	commands := map[string]struct {
		arguments []string
		completes string // what the shell offers for the first argument
	}{
		"status": {nil, app.Name}, "get users": {nil, ""}, "explain": {[]string{ada}, ada}, "suspend": {[]string{ada}, ada}, "resume": {[]string{ada}, ada},
		"token list": {nil, app.Name}, "token create": {[]string{app.Name, "--name", "second"}, app.Name}, "token rotate": {[]string{"first", "--name", "third"}, "first"},
		"token revoke": {[]string{"first"}, "first"}, "oauth list": {nil, ""}, "oauth approve": {nil, ""}, "oauth deny": {nil, ""},
		"test": {append([]string{app.Name}, url...), app.Name}, "import": {nil, ""}, "export": {nil, ""}, "diff": {[]string{app.Name, "-f", file}, app.Name},
		"person export": {[]string{ada}, ada}, "person erase": {nil, ada},
	}
	for leaf, help := range leaves(a) {
		command, known := commands[leaf]
		if !known {
			t.Errorf("there is no line for kubectl scim %s", leaf)
			continue
		}
		delete(commands, leaf)
		words := strings.Fields(leaf)
		if command.completes != "" {
			a.scim(append(append([]string{"__complete"}, words...), "")...).expect(0, command.completes)
		}
		found := formats.FindStringSubmatch(help)
		if found == nil {
			continue
		}
		line := slices.Concat(words, command.arguments)
		offered := a.scim(slices.Concat([]string{"__complete"}, line, []string{"-o", ""})...).expect(0).out
		a.scim(append(slices.Clone(line), "-o", "xml")...).expect(2, "want "+strings.ReplaceAll(found[1], "|", ", "))
		for format := range strings.SplitSeq(found[1], "|") {
			if !strings.Contains(offered, format) {
				t.Errorf("kubectl scim %s: the shell offers %q, which lacks %s", leaf, offered, format)
			}
			out := a.scim(append(slices.Clone(line), "-o", format)...).expect(0).out
			var value any
			switch format {
			case "json":
				err = json.Unmarshal([]byte(out), &value)
			case "yaml":
				err = yaml.Unmarshal([]byte(out), &value)
			case "name":
				value, err = out, nil
				if out = strings.TrimSpace(out); out != "" && !regexp.MustCompile(`^[a-z]+\.scim-operator\.io/\S+(\n[a-z]+\.scim-operator\.io/\S+)*$`).MatchString(out) {
					t.Errorf("kubectl scim %s -o name prints %q", leaf, out)
				}
			default:
				value, err = out, nil
			}
			onlyComments := format == "yaml" && strings.HasPrefix(out, "# ") // what is to be changed in the App's manifest
			if err != nil || value == nil && !onlyComments || strings.Contains(out, "\x1b[") {
				t.Errorf("kubectl scim %s -o %s prints %q: %v", leaf, format, out, err)
			}
		}
	}
	for leaf := range commands {
		t.Errorf("there is no command kubectl scim %s", leaf)
	}
	a.scim("__complete", "status", "--namespace", "").expect(0, app.Namespace)
	a.scim("__complete", "get", "users", "--app", "").expect(0, app.Name)
	for line, want := range map[string]string{
		"get groups": `unknown command "groups" for "kubectl scim get"`, "token make": "unknown command", "oauth grant X": "unknown command", "bogus": "unknown command",
		"suspend": "requires at least 1 arg", "explain": "accepts 1 arg", "diff " + app.Name: "filename",
		"token create " + app.Name + " --expires-in -1h": "would have ended before it is made", "token rotate first --overlap -1s": "want 0 or more",
	} {
		a.scim(strings.Fields(line)...).expect(2, want)
	}
	for _, group := range []string{"get", "token", "oauth", "person"} {
		a.scim(group).expect(0, "Available Commands")
	}
	// Without any right, the shell offers nothing, and says nothing.
	if got := accountWith(t, app.Namespace, "nobody").scim("__complete", "explain", ""); got.status != 0 || strings.Contains(got.out+got.errOut, "forbidden") {
		t.Errorf("completion without rights ends with %d: %s%s", got.status, got.out, got.errOut)
	}
}
