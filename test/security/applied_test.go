package security_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// An App that another account made before GitOps applies it keeps what the manifest leaves out: so an apply that widens what
// the App grants is refused while it does, and nothing of the other account's opens or earns what the manifest grants.
func TestFieldsThatTheManifestLeavesOut(t *testing.T) {
	applies := map[string][]string{
		"by server-side apply": {"apply", "--server-side", "--force-conflicts", "--field-manager=gitops"},
		"by kubectl apply":     {"apply"},
	}
	for _, test := range []struct {
		name, apply, told string
		// before is what the attacker sets, and stated how the manifest answers it.
		before func(*v1alpha1.App, v1alpha1.AcceptedToken)
		stated func(*v1alpha1.App)
	}{
		{"tokens", "by server-side apply", "tokens", beforeTokens, nil},
		{"tokens", "by kubectl apply", "spec.tokens", beforeTokens, nil},
		{"an issuer", "by server-side apply", "oidc", beforeIssuer, nil},
		{"an issuer", "by kubectl apply", "spec.oidc", beforeIssuer, nil},
		{"another subject", "by server-side apply", `oidc.subjects.v:"mallory"`, beforeIssuer, func(app *v1alpha1.App) {
			app.Spec.OIDC = ownIssuer()
			app.Spec.OIDC.Subjects = []string{"theirs"}
		}},
		{"a default role", "by server-side apply", "roleAssignment", func(app *v1alpha1.App, _ v1alpha1.AcceptedToken) {
			app.Spec.RoleAssignment.Default = []string{"root"}
		}, nil},
		{"a rule of the role", "by server-side apply", "when", func(app *v1alpha1.App, _ v1alpha1.AcceptedToken) {
			app.Spec.Roles = []v1alpha1.Role{{Name: "root", When: "true"}}
		}, nil},
		{"another default role", "by server-side apply", `roleAssignment.default.v:"root"`, func(app *v1alpha1.App, _ v1alpha1.AcceptedToken) {
			app.Spec.RoleAssignment.Default = []string{"root"}
		}, func(app *v1alpha1.App) { app.Spec.RoleAssignment.Default = []string{"none"} }},
		{"a default role", "by kubectl apply", "default", func(app *v1alpha1.App, _ v1alpha1.AcceptedToken) {
			app.Spec.RoleAssignment.Default = []string{"root"}
		}, nil},
		{"scopes", "by server-side apply", "scopes", beforeScopes, nil},
		{"scopes", "by kubectl apply", "list", beforeScopes, nil},
		{"the attribute of names", "by server-side apply", "kubernetes.usernameFrom", beforeNames, nil},
		{"the attribute of names", "by kubectl apply", "usernameFrom", beforeNames, nil},
		{"the identifier", "by server-side apply", "identifier", beforeIdentifier, nil},
		{"the identifier", "by kubectl apply", "identifier", beforeIdentifier, nil},
	} {
		t.Run(test.name+" "+test.apply, func(t *testing.T) {
			n := newTenant(t)
			app := n.newApp("root")
			mine, text := n.newToken(t, app.Name, "mine")
			early := app.DeepCopy()
			early.Spec.Roles, early.Spec.Tokens, early.Spec.RoleAssignment = nil, nil, v1alpha1.RoleAssignment{}
			test.before(early, accepting(mine))
			must(t, n.client.Create(t.Context(), early))
			must(t, n.client.Create(t.Context(), mine))

			app.Spec.RoleAssignment = v1alpha1.RoleAssignment{}
			app.Spec.Roles = []v1alpha1.Role{{Name: "root", Groups: []string{"Root"}, Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}}}
			app.Spec.Tokens = nil
			if test.stated != nil {
				app.Spec.Roles = append(app.Spec.Roles, v1alpha1.Role{Name: "none"})
				test.stated(app)
			}
			output, err := n.tryKubectl(t, []client.Object{app}, applies[test.apply]...)
			if err == nil || !strings.Contains(string(output), appliedPolicy) || !strings.Contains(string(output), test.told) {
				t.Fatalf("applied %v, want a refusal by %s that names %s:\n%s", err, appliedPolicy, test.told, output)
			}
			n.reachesNothing(t)

			// The manifest states its tokens, and the other account's fields are taken away.
			theirs, _ := n.newToken(t, app.Name, "theirs")
			app.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(theirs)}
			must(t, n.admin.Patch(t.Context(), app.DeepCopy(), mergePatch(`{"spec":{"oidc":null,"roles":null,"roleAssignment":null,"scopes":null,"identifier":null,"kubernetes":{"usernameFrom":null}}}`)))
			n.kubectl(t, app, applies[test.apply]...)
			n.answersSoon(t, text, 401)
			n.reachesNothing(t)
			// And GitOps goes on: what it widens later is its own.
			app.Spec.Roles[0].Groups = []string{"Root", "More"}
			n.kubectl(t, app, applies[test.apply]...)
		})
	}
}

func beforeTokens(app *v1alpha1.App, entry v1alpha1.AcceptedToken) {
	app.Spec.Tokens = []v1alpha1.AcceptedToken{entry}
}

func beforeIssuer(app *v1alpha1.App, _ v1alpha1.AcceptedToken) { app.Spec.OIDC = ownIssuer() }

// beforeScopes has what every author may give an App without roles.
func beforeScopes(app *v1alpha1.App, _ v1alpha1.AcceptedToken) {
	app.Spec.Scopes.List = []v1alpha1.Scope{{Name: "everywhere", ClusterWide: true}}
}

func beforeNames(app *v1alpha1.App, _ v1alpha1.AcceptedToken) {
	app.Spec.Kubernetes.UsernameFrom = v1alpha1.IdentifierEmail
}

func beforeIdentifier(app *v1alpha1.App, _ v1alpha1.AcceptedToken) {
	app.Spec.Identifier = v1alpha1.IdentifierEmail
}

// Edits and patches by hand are not held to the manifest of an earlier apply.
func TestEditsOfAnAppliedApp(t *testing.T) {
	n := newTenant(t)
	app := n.newApp("edited")
	n.kubectl(t, app, "apply")
	for _, patch := range []string{
		`{"spec":{"scopes":{"list":[{"name":"here","namespaces":["` + n.namespace + `"]}]}}}`,
		`{"spec":{"roles":[{"name":"viewer","grants":[{"clusterRole":"view"}],"groups":["Viewers"]}]}}`,
	} {
		output, err := n.runKubectl(t, "patch", "apps.scim-operator.io", app.Name, "--namespace", n.namespace, "--type", "merge", "--patch", patch)
		if err != nil {
			t.Fatalf("kubectl patch: %v\n%s", err, output)
		}
	}
}
