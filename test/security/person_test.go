package security_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// person is a user that an App's client provisioned.
type person struct {
	*okta.Assignment
	client *okta.Client
	// subject is their Kubernetes user name, id that of the User object.
	subject, id string
}

// opened writes an App and a token of it as its tenant, and returns a SCIM client of it.
func (n *tenant) opened(t testing.TB, app *v1alpha1.App) *okta.Client {
	t.Helper()
	scimToken, text := n.newToken(t, app.Name, app.Name)
	app.Spec.Tokens = append(app.Spec.Tokens, accepting(scimToken))
	must(t, n.client.Create(t.Context(), app))
	must(t, n.client.Create(t.Context(), scimToken))
	return connect(t, app, text)
}

// connect waits until the server takes the token.
func connect(t testing.TB, app *v1alpha1.App, text string) *okta.Client {
	t.Helper()
	opened := harness.App{Namespace: app.Namespace, Name: app.Name, Token: text, Prefix: app.Spec.Kubernetes.Prefix()}
	scim := operator.Client(operator.Server, "/scim/v2", opened, okta.AppWizard)
	harness.Eventually(t, patience, "the token of App "+app.Name, func(ctx context.Context) error {
		_, err := scim.TestConnection(ctx, false)
		return err
	})
	return scim
}

// assign provisions a person with the roles.
func assign(t testing.TB, scim *okta.Client, app *v1alpha1.App, userName string, roles ...any) *person {
	t.Helper()
	profile := okta.NewProfile(userName)
	profile.Custom = okta.ObjectOf("roles", roles)
	p := &person{Assignment: okta.Assign(profile), client: scim, subject: app.Spec.Kubernetes.Prefix() + userName}
	_, err := scim.AssignUser(t.Context(), p.Assignment)
	must(t, err)
	p.id = p.ID
	return p
}

// provision gives a person view in the tenant's namespace through an App of the tenant's own, named own.
func (n *tenant) provision(t testing.TB, userName string) *person {
	t.Helper()
	app := n.newApp("own")
	p := assign(t, n.opened(t, app), app, userName, "viewer")
	n.viewSoon(t, p.subject, true)
	return p
}

// views asks whether a user can list ConfigMaps in the tenant's namespace, as the role view allows.
func (n *tenant) views(ctx context.Context, subject string, want bool) error {
	got, err := operator.CanI(ctx, subject, "list", "configmaps", n.namespace)
	if err == nil && got != want {
		err = fmt.Errorf("%s can list ConfigMaps in %s: %t, want %t", subject, n.namespace, got, want)
	}
	return err
}

func (n *tenant) viewSoon(t testing.TB, subject string, want bool) {
	t.Helper()
	harness.Eventually(t, patience, "access of "+subject, func(ctx context.Context) error { return n.views(ctx, subject, want) })
}
