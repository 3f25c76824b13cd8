package okta_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// What went wrong for others, by their trackers. Each test names what it is about.

// Entra's soft delete renames to a tombstone; the name goes to a new person, and a restore under it is refused as a whole.
func TestTombstoneNames(t *testing.T) {
	scim, app := ownApp(t, okta.Template)
	name := newName(t, "tombstone")
	first := create(t, scim, userJSON(name, `,"role":"developer","externalId":"o1"`)).Text("id")
	operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Developer))
	const tomb = "0f3e5d2c9b8a4f6e8d7c6b5a4e3d2c1b"
	patch(t, scim, first, `{"op":"Replace","path":"userName","value":"`+tomb+name+`"}`, `{"op":"Replace","path":"active","value":"False"}`)
	operator.AccessNow(t, app.Subject(name), harness.Nowhere())
	create(t, scim, userJSON(name, `,"role":"viewer","externalId":"o2"`))
	operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
	back := patchOf(`{"op":"Replace","path":"userName","value":"`+name+`"}`, `{"op":"Replace","path":"active","value":"True"}`)
	must(t, do(t, scim, http.MethodPatch, "/Users/"+first, back).ExpectStatus(409))
	if left := get(t, scim, first); strings.Contains(string(left.Body), `"active":true`) {
		t.Errorf("half of the PATCH was applied: %s", left.Body)
	}
	operator.AccessNow(t, app.Subject(name), harness.Everywhere(harness.Viewer))
}

// One address is no identity: two people may share it.
func TestTwoPeopleOfOneAddress(t *testing.T) {
	scim, _ := ownApp(t, okta.Template)
	const emails = `"emails":[{"value":"shared@example.com","type":"work","primary":true}]`
	person := func(name string) string {
		return create(t, scim, fmt.Sprintf(`{"schemas":[%q],"userName":%q,"name":{"givenName":"A","familyName":"B"},"active":true,%s}`, okta.SchemaUser, newName(t, name), emails)).Text("id")
	}
	a, b := person("one"), person("other")
	if found := find(t, scim, `emails.value eq "shared@example.com"`); a == b || len(found) != 2 {
		t.Errorf("%s and %s are found as %v", a, b, found)
	}
}

// Schemas of other versions in a body stop no create, and Okta's description of a group is kept.
func TestForeignSchemasInABody(t *testing.T) {
	scim, _ := ownApp(t, okta.Template)
	name := newName(t, "foreign")
	made := do(t, scim, http.MethodPost, "/Users", fmt.Sprintf(`{"schemas":["urn:scim:schemas:core:1.0"],"userName":%q,"name":{"givenName":"A"}}`, name))
	must(t, made.ExpectStatus(201))
	if body := string(made.Body); !strings.Contains(body, `"schemas":["`+okta.SchemaUser+`"]`) || !strings.Contains(body, `"active":true`) {
		t.Errorf("%s", body)
	}
	const custom = "urn:okta:custom:group:1.0"
	group := do(t, scim, http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":[%q,%q],"displayName":"Described","members":[],%q:{"description":"West"}}`, okta.SchemaGroup, custom, custom))
	must(t, group.ExpectStatus(201))
	if !strings.Contains(string(group.Body), `"`+custom+`":{"description":"West"}`) {
		t.Errorf("%s", group.Body)
	}
}

// A connection test makes a person and a group, changes and removes them, and does all again under the same names.
func TestTheSameNamesAgain(t *testing.T) {
	scim, _ := ownApp(t, okta.Template)
	name := newName(t, "again")
	for range 3 {
		user := create(t, scim, userJSON(name, `,"role":"viewer"`)).Text("id")
		made := do(t, scim, http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":[%q],"displayName":"Again"}`, okta.SchemaGroup))
		must(t, made.ExpectStatus(201))
		group := "/Groups/" + made.Text("id")
		must(t, do(t, scim, http.MethodPut, "/Users/"+user, userJSON(name, `,"name":{"givenName":"T"}`)).ExpectStatus(200))
		for _, op := range []string{"add", "remove"} {
			must(t, do(t, scim, http.MethodPatch, group, patchOf(fmt.Sprintf(`{"op":%q,"path":"members","value":[{"value":%q}]}`, op, user))).ExpectStatus(204))
		}
		if left := do(t, scim, http.MethodGet, group, ""); strings.Contains(string(left.Body), user) {
			t.Errorf("%s", left.Body)
		}
		must(t, do(t, scim, http.MethodDelete, "/Users/"+user, "").ExpectStatus(204))
		must(t, do(t, scim, http.MethodDelete, group, "").ExpectStatus(204))
	}
}

// Names of roles, scopes, groups and users that no label and no object name can hold are bound, and revoked, as any other.
func TestNamesThatNoLabelHolds(t *testing.T) {
	role, scope := "Team Lead (EMEA)/øps & co: "+strings.Repeat("x", 90), `Ünit – "North" / 1 `+strings.Repeat("y", 90)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "odd-names", func(spec *v1alpha1.AppSpec) {
		viewer := spec.Roles[slices.IndexFunc(spec.Roles, func(r v1alpha1.Role) bool { return r.Name == harness.Viewer })].Grants
		developer := spec.Roles[slices.IndexFunc(spec.Roles, func(r v1alpha1.Role) bool { return r.Name == harness.Developer })].Grants
		spec.Roles = []v1alpha1.Role{{Name: role, Grants: viewer}, {Name: "by-group", Groups: []string{"Team: A (EMEA) — Öps/1"}, Grants: developer}}
		spec.RoleAssignment.Default, spec.Scopes = nil, v1alpha1.Scopes{List: []v1alpha1.Scope{{Name: scope, Namespaces: []string{"team-a"}}}}
		for i := range spec.Attributes {
			spec.Attributes[i].CanonicalValues = nil
		}
	})
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	for _, name := range []string{"a/b", "o'b", `q"t`, `b\s`, "p%c", "h#s", "a&p", "p+t", "s;c", "c:l", "q?y", "İst", "straße", "محمد", "e😀", "x=y", "a b@x"} {
		quoted, err := json.Marshal(name)
		must(t, err)
		made := do(t, scim, http.MethodPost, "/Users", fmt.Sprintf(`{"schemas":[%q],"userName":%s,"role":%q}`, okta.SchemaUser, quoted, role))
		must(t, made.ExpectStatus(201))
		id, subject := made.Text("id"), app.Subject(name)
		if found := find(t, scim, "userName eq "+string(quoted)); !slices.Equal(found, []string{id}) {
			t.Errorf("%s is found as %v", name, found)
		}
		operator.AccessSoon(t, subject, harness.Access{"team-a": harness.Viewer})
		if name == "a/b" {
			must(t, do(t, scim, http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":[%q],"displayName":"team: a (emea) — öps/1","members":[{"value":%q}]}`, okta.SchemaGroup, id)).ExpectStatus(201))
			operator.AccessSoon(t, subject, harness.Access{"team-a": harness.Developer})
		}
		must(t, do(t, scim, http.MethodPatch, "/Users/"+id, patchOf(`{"op":"replace","value":{"active":false}}`)).ExpectStatus(200))
		operator.AccessNow(t, subject, harness.Nowhere())
	}
}

// An App that grants another ClusterRole: the bindings follow, though a roleRef cannot change; and what GitOps tools write on an App
// does not get onto its bindings, which they would prune.
func TestAnotherClusterRole(t *testing.T) {
	scim, app := ownApp(t, okta.Template)
	object := &v1alpha1.App{}
	key := client.ObjectKey{Namespace: app.Namespace, Name: app.Name}
	edit := func(change func()) {
		t.Helper()
		must(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error { // the controller writes the App's status meanwhile
			if err := operator.Env.Client.Get(t.Context(), key, object); err != nil {
				return err
			}
			change()
			return operator.Env.Client.Update(t.Context(), object)
		}))
	}
	edit(func() {
		object.Labels = map[string]string{"app.kubernetes.io/instance": "argo-app"}
		object.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "argo-app:x"}
	})
	name := newName(t, "switched")
	create(t, scim, userJSON(name, `,"role":"developer"`))
	operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Developer))
	edit(func() {
		for i := range object.Spec.Roles {
			if object.Spec.Roles[i].Name == harness.Developer {
				object.Spec.Roles[i].Grants = []v1alpha1.Grant{{ClusterRole: "quickstart-viewer"}}
			}
		}
	})
	operator.AccessSoon(t, app.Subject(name), harness.Everywhere(harness.Viewer))
	bindings := &rbacv1.RoleBindingList{}
	must(t, operator.Env.Client.List(t.Context(), bindings, client.MatchingLabels{v1alpha1.LabelApp: app.Name, v1alpha1.LabelAppNamespace: app.Namespace}))
	if len(bindings.Items) == 0 {
		t.Fatal("no binding is found")
	}
	for i := range bindings.Items {
		binding := &bindings.Items[i]
		_, tracked := binding.Annotations["argocd.argoproj.io/tracking-id"]
		if binding.Labels["app.kubernetes.io/instance"] != "" || tracked || len(binding.OwnerReferences) > 0 {
			t.Errorf("%s/%s carries what is the App's: %v %v %v", binding.Namespace, binding.Name, binding.Labels, binding.Annotations, binding.OwnerReferences)
		}
	}
}
