package operations_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// jane is the person of docs/privacy.md. Nothing else in the cluster has these values.
const (
	janeUserName = "jane@example.com"
	janeDisplay  = "Jane Quillfeather"
	janeExternal = "00uquillfeather"
	janeAddress  = "j.quillfeather@example.org"
)

// stored is one key of etcd.
type stored struct{ key, value string }

// everything compacts etcd and returns what it holds then, but for CRDs: their descriptions have examples.
func everything(t *testing.T) (all []stored) {
	t.Helper()
	var status struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	operator.Etcd(t, "/v3/maintenance/status", map[string]any{}, &status)
	operator.Etcd(t, "/v3/kv/compaction", map[string]any{"revision": status.Header.Revision, "physical": true}, nil)
	decode := func(text string) string {
		data, err := base64.StdEncoding.DecodeString(text)
		must(t, err)
		return string(data)
	}
	for from := "\x00"; ; {
		var page struct {
			KVs  []struct{ Key, Value string } `json:"kvs"`
			More bool                          `json:"more"`
		}
		operator.Etcd(t, "/v3/kv/range", map[string]any{"key": encode(from), "range_end": encode("\x00"), "limit": 500}, &page)
		for _, kv := range page.KVs {
			one := stored{decode(kv.Key), decode(kv.Value)}
			from = one.key + "\x00"
			if !strings.HasPrefix(one.key, "/registry/apiextensions.k8s.io/") {
				all = append(all, one)
			}
		}
		if !page.More {
			return all
		}
	}
}

// keysNaming returns the keys that have one of the values in themselves or in what they hold, in whatever case.
func keysNaming(t *testing.T, values ...string) (keys []string) {
	t.Helper()
	all := everything(t)
	if len(all) < 100 {
		t.Fatalf("etcd holds %d keys", len(all))
	}
	for _, one := range all {
		text := strings.ToLower(one.key + "\n" + one.value)
		if slices.ContainsFunc(values, func(value string) bool { return strings.Contains(text, strings.ToLower(value)) }) {
			keys = append(keys, one.key)
		}
	}
	return keys
}

// resources are the parts of etcd's keys for the kinds of an export.
var resources = map[string]string{
	"User": "scim-operator.io/users", "NameClaim": "scim-operator.io/nameclaims", "Group": "scim-operator.io/groups",
	"AppRoleBinding": "scim-operator.io/approlebindings", "RevocationList": "scim-operator.io/revocationlists",
	"RoleBinding": "rolebindings", "ClusterRoleBinding": "clusterrolebindings", "Event": "events",
}

// exported is a document of kubectl scim person export.
type exported struct {
	Users, Events []struct {
		Metadata struct{ Namespace, Name string }
	}
	Groups   []struct{ DisplayName string }
	Mentions []struct {
		Kind, Namespace, Name string
		Places                []struct{ Field, Text string }
	}
}

// keys are those that etcd has for what is in the document.
func (e *exported) keys() (keys []string) {
	add := func(kind, namespace, name string) {
		keys = append(keys, strings.Join(slices.DeleteFunc([]string{"/registry/" + resources[kind], namespace, name}, func(part string) bool { return part == "" }), "/"))
	}
	for _, user := range e.Users {
		add("User", user.Metadata.Namespace, user.Metadata.Name)
	}
	for _, event := range e.Events {
		add("Event", event.Metadata.Namespace, event.Metadata.Name)
	}
	for _, mention := range e.Mentions {
		add(mention.Kind, mention.Namespace, mention.Name)
	}
	return keys
}

// withPlugin is a workplace with kubectl scim, built from this tree.
func withPlugin(t *testing.T) workplace {
	t.Helper()
	place := newWorkplace(t, []string{"cluster"}, operator)
	bin := t.TempDir()
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "../../cmd/kubectl-scim").CombinedOutput()
	if err != nil {
		t.Fatalf("building the plugin: %v\n%s", err, output)
	}
	place.env = append(place.env, "PATH="+bin+string(os.PathListSeparator)+filepath.Dir(operator.Env.Kubectl)+string(os.PathListSeparator)+os.Getenv("PATH"))
	return place
}

// send sends a request with a body, expects a status, and returns the answer.
func send(t *testing.T, scim *okta.Client, status int, method, path, format string, args ...any) *okta.Exchange {
	t.Helper()
	answer, err := scim.Do(t.Context(), method, path, fmt.Appendf(nil, format, args...))
	must(t, err)
	must(t, answer.ExpectStatus(status))
	return answer
}

const deactivation = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}`

// A person is exported and erased by the commands of docs/privacy.md. The export has every object in etcd that names the person; after
// the erasure none does, also where a backup brought the person back.
func TestPersonIsErased(t *testing.T) {
	operator.ShowOnFailure(t)
	app := operator.Quickstart(t, operator.Server)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	scim.Retries = 20
	const user = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"displayName":%q,"externalId":%q,"active":true,"role":"developer",
		"emails":[{"value":%q,"type":"work","primary":true}]%s}`
	id := send(t, scim, http.StatusCreated, http.MethodPost, "/Users", user, janeUserName, janeDisplay, janeExternal, janeAddress, "").Text("id")
	managed := fmt.Sprintf(`,"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":%q,"displayName":%q}}`, janeExternal, janeDisplay)
	report := send(t, scim, http.StatusCreated, http.MethodPost, "/Users", user, "report@example.com", "Rhea Report", "00ureport", "report@example.org", managed).Text("id")
	group := send(t, scim, http.StatusCreated, http.MethodPost, "/Groups", `{"schemas":[%q],"displayName":"Quills","members":[{"value":%q},{"value":%q}]}`, okta.SchemaGroup, id, report).Text("id")
	operator.AccessSoon(t, app.Subject(janeUserName), harness.Everywhere(harness.Developer))
	byHand := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "by-hand"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: app.Subject(janeUserName)}},
	}
	must(t, operator.Env.Client.Create(t.Context(), byHand))
	values := []string{janeUserName, janeDisplay, janeExternal, janeAddress, id}

	place := withPlugin(t)
	place.follow(t, "privacy.md", "privacy: export")
	document := exportIsWhole(t, place, values)
	for _, text := range []string{`"Rhea Report"`, "report@example", "00ureport"} {
		if strings.Contains(document, text) {
			t.Errorf("the export tells %s of another person", text)
		}
	}
	place.follow(t, "privacy.md", "privacy: export without the plugin")
	for file, want := range map[string]string{"user.json": janeDisplay, "claims.json": janeUserName, "events.json": "AccessGranted", "bindings.txt": app.Subject(janeUserName)} {
		data, err := os.ReadFile(filepath.Join(place.dir, file))
		must(t, err)
		if !strings.Contains(string(data), want) {
			t.Errorf("%s has no %s:\n%s", file, want, data)
		}
	}

	// The provider and other hands do theirs.
	backup := backUp(t, place)
	send(t, scim, http.StatusOK, http.MethodPut, "/Users/"+report, user, "report@example.com", "Rhea Report", "00ureport", "report@example.org", "")
	must(t, operator.Env.Client.Delete(t.Context(), byHand))
	send(t, scim, http.StatusOK, http.MethodPatch, "/Users/"+id, deactivation)
	place.follow(t, "privacy.md", "privacy: the id")
	if plan := place.follow(t, "privacy.md", "privacy: plan"); !strings.Contains(plan, "User directory/"+id) || !strings.Contains(plan, "Group directory/"+group) {
		t.Errorf("the plan is\n%s", plan)
	}
	operator.User(t, app, id) // it is still there
	place.follow(t, "privacy.md", "privacy: erase")
	isErased := func() {
		t.Helper()
		if keys := keysNaming(t, values...); len(keys) > 0 {
			t.Errorf("etcd still names the person in %q", keys)
		}
		left := exported{}
		must(t, json.Unmarshal([]byte(place.follow(t, "privacy.md", "privacy: nothing is left")), &left))
		if keys := left.keys(); len(keys) > 0 {
			t.Errorf("the export still has %q", keys)
		}
	}
	isErased()

	// A backup brings the person back, with access.
	restore := exec.CommandContext(t.Context(), "kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-")
	restore.Path, restore.Env, restore.Stdin = operator.Env.Kubectl, place.env, strings.NewReader(backup)
	if output, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	operator.AccessSoon(t, app.Subject(janeUserName), harness.Everywhere(harness.Developer))
	place.follow(t, "privacy.md", "privacy: after a restore")
	harness.Eventually(t, patience, "the end of the restored User", func(ctx context.Context) error {
		err := operator.Env.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: id}, &v1alpha1.User{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %w", err)
		}
		return nil
	})
	operator.AccessNow(t, app.Subject(janeUserName), harness.Nowhere())

	sentAgain(t, scim, id, group)
}

// exportIsWhole compares the export with etcd: it has every object that names the person, and no other.
func exportIsWhole(t *testing.T, place workplace, values []string) (document string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(place.dir, "jane.json"))
	must(t, err)
	got := exported{}
	must(t, json.Unmarshal(data, &got))
	have, want := got.keys(), keysNaming(t, values...)
	slices.Sort(have)
	for _, key := range want {
		if _, found := slices.BinarySearch(have, key); !found {
			t.Errorf("the export lacks %s", key)
		}
	}
	for _, key := range have {
		if !slices.Contains(want, key) && !strings.HasPrefix(key, "/registry/events/") {
			t.Errorf("the export has %s, which does not name the person", key)
		}
	}
	if len(got.Users) != 1 || len(got.Groups) != 1 || got.Groups[0].DisplayName != "Quills" || len(got.Mentions) < 6 {
		t.Errorf("the export has %d Users, groups %+v, %d mentions", len(got.Users), got.Groups, len(got.Mentions))
	}
	return string(data)
}

// backUp returns the person's objects as a backup has them.
func backUp(t *testing.T, place workplace) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "bash", "-c", `kubectl --namespace directory get -o yaml users.scim-operator.io,nameclaims.scim-operator.io |
		sed -E '/^    (uid|resourceVersion|creationTimestamp|generation|deletionTimestamp):/d'`)
	command.Env = place.env
	output, err := command.Output()
	must(t, err)
	if !bytes.Contains(output, []byte(janeUserName)) {
		t.Fatalf("the backup is\n%s", output)
	}
	return string(output)
}

// sentAgain plays a client that still has the person.
func sentAgain(t *testing.T, scim *okta.Client, id, group string) {
	t.Helper()
	send(t, scim, http.StatusNotFound, http.MethodPatch, "/Users/"+id, deactivation)
	send(t, scim, http.StatusNotFound, http.MethodPut, "/Users/"+id, `{"schemas":[%q],"userName":%q,"active":true}`, okta.SchemaUser, janeUserName)
	again := send(t, scim, http.StatusCreated, http.MethodPost, "/Users", `{"schemas":[%q],"userName":%q,"active":true}`, okta.SchemaUser, janeUserName).Text("id")
	if again == id {
		t.Errorf("the person has the id %s again", id)
	}
	send(t, scim, http.StatusNoContent, http.MethodPatch, "/Groups/"+group,
		`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[{"value":%q},{"value":%q}]}]}`, id, again)
	answer, err := scim.Do(t.Context(), http.MethodGet, "/Groups/"+group, nil)
	must(t, err)
	members := fmt.Sprint(okta.MembersIn(answer.Document))
	if strings.Contains(members, id) || !strings.Contains(members, again) {
		t.Errorf("the members are %s", members)
	}
	send(t, scim, http.StatusNoContent, http.MethodDelete, "/Users/"+again, "")
}
