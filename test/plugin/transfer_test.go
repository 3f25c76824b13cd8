package plugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// What is exported as either format is unchanged when it is imported, and makes the same users of another App. A cell that a
// spreadsheet would run is text, and comes back as it was.
func TestExportAndImport(t *testing.T) {
	declare := func(spec *v1alpha1.AppSpec) {
		spec.Attributes = append(spec.Attributes, v1alpha1.CustomAttribute{Name: "badge", Type: "integer"},
			v1alpha1.CustomAttribute{Name: "sites", Type: "string", MultiValued: true, Schema: "urn:example:site"})
	}
	from, to := newApp(t, declare), newApp(t, declare)
	create(t, from, "ada@example.com", `, "externalId": "x1", "role": "developer", "badge": 7, "urn:example:site": {"sites": ["a,b", "c"]},
		"displayName": "=HYPERLINK(\"http://evil\")", "name": {"givenName": "Ada", "familyName": "L\"ovelace"}, "emails": [{"value": "ada@example.org", "type": "work", "primary": true}]`)
	create(t, from, "lin@example.com", `, "displayName": "'+1", "phoneNumbers": [{"value": "1", "type": "work"}]`)
	dir := t.TempDir()
	at := func(command, file string) []string {
		app, args := from, []string{command}
		if command == "import" {
			app, args = to, append(args, file)
		} else {
			args = append(args, "--file", file)
		}
		return append(args, "--url", h.Server.URL, "--token-file", tokenFile(t, app))
	}
	source, target := admin(t, from.Namespace), admin(t, to.Namespace)
	jsonl, csv := filepath.Join(dir, "users.jsonl"), filepath.Join(dir, "users.csv")
	source.scim(at("export", jsonl)...).expect(0)
	source.scim(at("export", csv)...).expect(0)
	text, err := os.ReadFile(csv)
	must(t, err)
	if !bytes.Contains(text, []byte(`"'=HYPERLINK`)) || !bytes.Contains(text, []byte(`''+1`)) {
		t.Errorf("formulas are not guarded:\n%s", text)
	}
	for _, file := range []string{jsonl, csv} {
		source.scim("import", file, "--url", h.Server.URL, "--token-file", tokenFile(t, from)).expect(0, "0 users to create, 0 to update, 0 of these to deactivate, 2 are as in the file")
	}

	target.scim(at("import", csv)...).expect(0, "2 users to create", "line 2: create ada@example.com", "Nothing is changed")
	if left := usersLeft(t, to.Namespace); len(left) > 0 {
		t.Errorf("the dry run made %v", left)
	}
	target.scim(append(at("import", csv), "--yes")...).expect(0, "2 of 2 changes done")
	// CSV has no phone numbers, JSON lines do; the update keeps what the file does not have.
	target.scim(append(at("import", jsonl), "--yes")...).expect(0, "0 users to create, 1 to update", "update phoneNumbers of lin@example.com")
	copied := filepath.Join(dir, "copy.jsonl")
	target.scim("export", "--file", copied, "--url", h.Server.URL, "--token-file", tokenFile(t, to)).expect(0)
	if want, got := linesOf(t, jsonl), linesOf(t, copied); want != got {
		t.Errorf("exported\n%s\nand from the copy\n%s", want, got)
	}
	if info, err := os.Stat(jsonl); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, error %v", info.Mode(), err)
	}
	target.with(t.Context(), `{"userName": "ADA@example.com", "active": false}`, "import", "-", "--yes", "--url", h.Server.URL, "--token-file", tokenFile(t, to)).
		expect(0, "1 of these to deactivate", "1 of 1 changes done")
}

// linesOf returns the lines of a file in the order of their users, each with its members sorted.
func linesOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	byName := map[string]json.RawMessage{}
	for line := range strings.Lines(string(data)) {
		var user map[string]any
		must(t, json.Unmarshal([]byte(line), &user))
		sorted, err := json.Marshal(user)
		must(t, err)
		byName[user["userName"].(string)] = sorted
	}
	return fmt.Sprintf("%s", byName)
}

func TestImportRefusesWhatItCannotUse(t *testing.T) {
	app := newApp(t, nil)
	a := admin(t, app.Namespace)
	for input, want := range map[string]string{
		`{"userName": "a"}` + "\nnonsense":               "line 2 is no JSON object",
		`{"userName": "a"}` + "\n" + `{"userName": "A"}`: `line 2: the userName "A" is in line 1 already`,
		`{"displayName": "a"}`:                           "line 1: a user without a userName",
		`{"userName": "a"} {"userName": "b"}`:            "line 1 is no JSON object",
		`["a"]`:                                          "line 1 is no JSON object",
	} {
		a.with(t.Context(), input, "import", "-", "--yes", "--url", h.Server.URL, "--token-file", tokenFile(t, app)).expect(2, want)
	}
	for input, want := range map[string]string{
		"displayName\na\n":             "no column userName",
		"userName,active\na,perhaps\n": "line 2, column active",
		"userName,active\na\n":         "wrong number of fields",
	} {
		a.with(t.Context(), input, "import", "-", "--format", "csv", "--yes", "--url", h.Server.URL, "--token-file", tokenFile(t, app)).expect(2, want)
	}
	if left := usersLeft(t, app.Namespace); len(left) > 0 {
		t.Errorf("half a file made %v", left)
	}
	// A line that the server refuses does not keep the others from being done.
	a.with(t.Context(), `{"userName": "a@example.com", "role": "boss"}`+"\n"+`{"userName": "b@example.com", "active": true}`,
		"import", "-", "--yes", "--url", h.Server.URL, "--token-file", tokenFile(t, app)).expect(1, "line 1: a@example.com: HTTP 400: role", "1 of 2 changes done")
	// A refused line that says active: false deactivates, and tells what was left out.
	a.with(t.Context(), `{"userName": "b@example.com", "active": false, "title": "t", "name": {"givenName": {"x": 1}}}`,
		"import", "-", "--yes", "--url", h.Server.URL, "--token-file", tokenFile(t, app)).
		expect(1, "line 1: b@example.com: deactivated; the server refuses the rest of the line, and left out name, title", "0 of 1 changes done")
	left := &v1alpha1.UserList{}
	must(t, h.Env.Client.List(t.Context(), left, client.InNamespace(app.Namespace)))
	if len(left.Items) != 1 || left.Items[0].Spec.Active || left.Items[0].Spec.Title != "" {
		t.Errorf("the users are %+v", left.Items)
	}
}

// An import that is interrupted goes on where it ended, and makes each user once. 429 is waited for.
func TestImportThatIsInterrupted(t *testing.T) {
	const users = 300
	app := newApp(t, nil)
	target, err := url.Parse(h.Server.URL)
	must(t, err)
	ctx, interrupt := context.WithCancel(t.Context())
	posts := atomic.Int32{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {} // of requests that were interrupted
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodPost {
			switch posts.Add(1) {
			case 5:
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			case 100:
				interrupt()
			}
		}
		proxy.ServeHTTP(w, request)
	}))
	defer server.Close()
	var file strings.Builder
	for i := range users {
		fmt.Fprintf(&file, `{"userName": "u%d@example.com", "active": true}`+"\n", i)
	}
	a := admin(t, app.Namespace)
	args := []string{"import", "-", "--yes", "--url", server.URL, "--token-file", tokenFile(t, app)}
	a.with(ctx, file.String(), args...).expect(130, "300 users to create", "The same command goes on from here")
	if made := len(usersLeft(t, app.Namespace)); made == 0 || made >= users {
		t.Errorf("%d users were made before the interruption", made)
	}
	a.with(t.Context(), file.String(), args...).expect(0, "changes done").lacks("300 users to create")
	a.with(t.Context(), file.String(), args...).expect(0, "0 users to create", "300 are as in the file")
	exported := a.scim("export", "--url", h.Server.URL, "--token-file", tokenFile(t, app)).expect(0).out
	if made := strings.Count(exported, "\n"); made != users {
		t.Errorf("%d users are exported, want %d", made, users)
	}
}

func TestDiff(t *testing.T) {
	app := newApp(t, func(spec *v1alpha1.AppSpec) { spec.Roles[0].Groups = []string{"Readers"} })
	create(t, app, "ada@example.com", `, "role": "developer"`)
	lin := create(t, app, "lin@example.com", `, "regions": "emea2"`)
	create(t, app, "eve@example.com", `, "active": false`)
	evaluated(t, app.Namespace, 3)
	a := admin(t, app.Namespace)
	manifest := func(change func(spec map[string]any)) string {
		object := map[string]any{}
		raw, err := h.Clientset.CoreV1().RESTClient().Get().AbsPath("/apis/scim-operator.io/v1alpha1/namespaces/" + app.Namespace + "/apps/" + app.Name).DoRaw(t.Context())
		must(t, err)
		must(t, json.Unmarshal(raw, &object))
		delete(object, "status")
		change(object["spec"].(map[string]any))
		edited, err := json.Marshal(object)
		must(t, err)
		return "# a comment\nkind: Other\n---\n" + string(edited) + "\n"
	}
	diff := func(by account, change func(spec map[string]any)) answer {
		return by.with(t.Context(), manifest(change), "diff", app.Name, "-f", "-")
	}
	diff(a, func(map[string]any) {}).expect(0, "3 users of App app: 0 gain, 0 lose")
	diff(a, func(spec map[string]any) { spec["displayName"] = "Other" }).expect(0, "0 gain, 0 lose")
	// Without a default role lin loses; ada keeps hers, and eve has none to lose.
	noDefault := func(spec map[string]any) { delete(spec["roleAssignment"].(map[string]any), "default") }
	diff(a, noDefault).expect(1, "- lin@example.com loses viewer in emea2: ClusterRole/quickstart-viewer in namespaces team-b for "+app.Prefix+"lin@example.com", "0 gain, 1 lose").lacks("ada@", "eve@")
	diff(a, func(spec map[string]any) { spec["roleAssignment"].(map[string]any)["default"] = []string{"developer"} }).
		expect(1, "+ lin@example.com gains developer in emea2", "- lin@example.com loses viewer in emea2", "1 gain, 1 lose")
	diff(a, func(spec map[string]any) { spec["kubernetes"].(map[string]any)["usernamePrefix"] = "other:" }).
		expect(1, "~ ada@example.com has developer in us1 otherwise", "for other:ada@example.com; was")
	diff(a, func(spec map[string]any) { spec["mode"] = "Observe" }).expect(1, "0 gain, 2 lose")
	diff(a, func(spec map[string]any) { spec["mode"] = "Sometimes" }).expect(2, "spec.mode")
	diff(a, func(spec map[string]any) { spec["rolls"] = "x" }).expect(2, "unknown field")
	// An account that may only look has the same answer, and is told that admission was not asked.
	diff(accountWith(t, app.Namespace, "vera", "scim-operator-viewer"), noDefault).expect(1, "you lack the right to update apps.scim-operator.io", "0 gain, 1 lose")
	// One that may write Apps and not bind is told that the edit would be refused.
	diff(accountWith(t, app.Namespace, "otto", "scim-operator-admin"), func(spec map[string]any) {
		spec["roleAssignment"].(map[string]any)["default"] = []string{"developer"}
	}).expect(2, "bind")
	post(t, app, "/Groups", fmt.Sprintf(`{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Readers", "members": [{"value": %q}]}`, lin))
	a.scim("diff", app.Name, "-f", filepath.Join(t.TempDir(), "missing")).expect(2, "no such file")
	a.with(t.Context(), "kind: App\n", "diff", app.Name, "-f", "-").expect(2, "holds no App app")
}
