package plugin_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

var secretPattern = regexp.MustCompile(`scim_\w{8}_\w{43}_\w{6}`)

// secretIn returns the one secret of a text, which must hold it once.
func secretIn(t *testing.T, text string) string {
	t.Helper()
	found := secretPattern.FindAllString(text, -1)
	if len(found) != 1 {
		t.Fatalf("%d secrets in %q", len(found), secretPattern.ReplaceAllString(text, "scim_…"))
	}
	return found[0]
}

// opens reports the status of the answer to a look at users and groups.
func opens(t *testing.T, app harness.App, secret string) (users, groups int) {
	t.Helper()
	app.Token = secret
	scim := h.Client(h.Server, "/scim/v2", app, okta.AppWizard)
	for path, status := range map[string]*int{"/Users?count=1": &users, "/Groups?count=1": &groups} {
		exchange, err := scim.Do(t.Context(), http.MethodGet, path, nil)
		must(t, err)
		*status = exchange.Status
	}
	return users, groups
}

// edit changes an App's specification.
func edit(t *testing.T, app harness.App, change func(*v1alpha1.AppSpec)) {
	t.Helper()
	object := &v1alpha1.App{}
	must(t, h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object))
	before := object.DeepCopy()
	change(&object.Spec)
	must(t, h.Env.Client.Patch(t.Context(), object, client.MergeFrom(before)))
}

func entriesOf(t *testing.T, app harness.App) (names []string) {
	t.Helper()
	object := &v1alpha1.App{}
	must(t, h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object))
	for _, entry := range object.Spec.Tokens {
		names = append(names, entry.Name)
	}
	return names
}

func TestTokenFromCreationToRevocation(t *testing.T) {
	app := newApp(t, nil)
	a := admin(t, app.Namespace)
	created := a.scim("token", "create", app.Name, "--name", "first", "--scopes", "users", "--expires-in", "100h").expect(0, "opens App app")
	first := secretIn(t, created.out)
	if created.out != first+"\n" {
		t.Error("standard output holds more than the secret")
	}
	app.Token = first
	h.Opens(t, h.Server, app)
	if users, groups := opens(t, app, first); users != 200 || groups != 403 {
		t.Errorf("with the scope users: users %d, groups %d", users, groups)
	}
	// The App bounds the entry further: the successor must not be free of that.
	edit(t, app, func(spec *v1alpha1.AppSpec) {
		for i := range spec.Tokens {
			if spec.Tokens[i].Name == "first" {
				spec.Tokens[i].Scopes = []v1alpha1.TokenScope{v1alpha1.TokenScopeRead}
			}
		}
	})

	second := secretIn(t, a.scim("token", "rotate", "first", "--name", "second", "--overlap", "1h").expect(0, "first opens the App until").out)
	app.Token = second
	h.Opens(t, h.Server, app)
	for _, secret := range []string{first, second} {
		if users, _ := opens(t, app, secret); users != 200 {
			t.Errorf("in the overlap a token is answered %d", users)
		}
	}
	made := &v1alpha1.ScimToken{}
	must(t, h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: "second"}, made))
	if made.Spec.Digest != token.Digest(second) || len(made.Spec.Scopes) != 1 || made.Spec.ExpiresAt == nil {
		t.Errorf("the successor is %+v", made.Spec)
	}
	object := &v1alpha1.App{}
	must(t, h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object))
	for _, entry := range object.Spec.Tokens {
		if entry.Name == "second" && (len(entry.Scopes) != 1 || entry.Scopes[0] != v1alpha1.TokenScopeRead) {
			t.Errorf("the successor's entry is bounded by %v", entry.Scopes)
		}
	}
	a.scim("token", "list").expect(0, "first", "second", "digest", token.ID(made.Spec.Digest)).lacks(second)

	// A copy of the secret under another name outlives the revocation, which says so.
	copied := h.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(second)})
	a.scim("token", "revoke", token.ID(made.Spec.Digest)).expect(2, "name one by its object")
	a.scim("token", "revoke", "second").expect(1, "is revoked", copied.Name)
	a.scim("token", "revoke", copied.Name).expect(0, "is revoked")
	h.Refuses(t, h.Server, app, limit)
	if names := strings.Join(entriesOf(t, app), " "); !strings.Contains(names, "first") || strings.Contains(names, "second") {
		t.Errorf("the App lists %s", names)
	}
}

// With -o yaml nothing changes; what is printed, put into Git, opens the App.
func TestTokenForGit(t *testing.T) {
	app := newApp(t, nil)
	a := admin(t, app.Namespace)
	before := entriesOf(t, app)
	printed := a.scim("token", "create", app.Name, "--name", "git", "-o", "yaml").expect(0)
	secret := secretIn(t, printed.errOut)
	if strings.Contains(printed.out, secret) {
		t.Error("the manifests hold the secret")
	}
	if after := entriesOf(t, app); len(after) != len(before) {
		t.Errorf("the App lists %v", after)
	}
	a.scim("token", "list").lacks("git")

	manifest, list, _ := strings.Cut(printed.out, "---\n")
	object := &v1alpha1.ScimToken{}
	must(t, yaml.UnmarshalStrict([]byte(manifest), object))
	must(t, h.Env.Client.Create(t.Context(), object))
	_, list, _ = strings.Cut(list, "\n")
	var spec struct{ Tokens []v1alpha1.AcceptedToken }
	must(t, yaml.UnmarshalStrict([]byte(regexp.MustCompile(`(?m)^#   `).ReplaceAllString(list, "")), &spec))
	edit(t, app, func(existing *v1alpha1.AppSpec) { existing.Tokens = spec.Tokens })
	app.Token = secret
	h.Opens(t, h.Server, app)

	// What would be applied says nothing of roles: only comments do, so that nothing is taken away.
	if strings.Contains(manifest, "kind: App") {
		t.Error("a manifest of the App is printed, which would take its roles away")
	}
}

// An account that may write Apps and ScimTokens, and bind nothing, cannot make a token, and leaves nothing behind.
func TestTokenByAnAccountThatMayNotBind(t *testing.T) {
	app := newApp(t, nil)
	otto := accountWith(t, app.Namespace, "otto", "scim-operator-admin")
	otto.scim("token", "create", app.Name, "--name", "own").expect(2, "the App does not list the token").lacks("scim_")
	err := h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: "own"}, &v1alpha1.ScimToken{})
	if client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the ScimToken is left behind, error %v", err)
	}
	if names := strings.Join(entriesOf(t, app), " "); strings.Contains(names, "own") {
		t.Errorf("the App lists %s", names)
	}
	accountWith(t, app.Namespace, "vera", "scim-operator-viewer").scim("token", "create", app.Name).expect(3, "create scimtokens.scim-operator.io").lacks("scim_")
	must(t, h.Env.Client.Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "half"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"scimtokens"}, Verbs: []string{"create", "get"}}},
	}))
	must(t, h.Env.Client.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "half"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "half"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "hal"}},
	}))
	writeKubeconfig(t, app.Namespace, "hal").scim("token", "create", app.Name, "--name", "half").
		expect(3, "get apps.scim-operator.io", "opens nothing, and could not be deleted").lacks("shown this once")
}
