package okta_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// anew deletes an App and makes it again, as another one with the same specification, and returns once the server has both behind it.
func (o *oauthApp) anew(t *testing.T) {
	t.Helper()
	app := &v1alpha1.App{}
	must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: o.Namespace, Name: o.Name}, app))
	must(t, operator.Env.Client.Delete(t.Context(), app))
	soon(t, "the end of the App", func(ctx context.Context) error {
		err := operator.Env.Client.Get(ctx, client.ObjectKeyFromObject(app), &v1alpha1.App{})
		if !apierrors.IsNotFound(err) {
			return errors.Join(err, errors.New("the App is there"))
		}
		if got := o.status(t, o.Token); got != http.StatusUnauthorized {
			return fmt.Errorf("the App's token is answered %d", got)
		}
		return nil
	})
	must(t, operator.Env.Client.Create(t.Context(), &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}, Spec: app.Spec}))
	soon(t, "the App that was made anew", func(ctx context.Context) error {
		if got := o.status(t, o.Token); got != http.StatusOK {
			return fmt.Errorf("the App's token is answered %d", got)
		}
		answer, err := o.okta.RefreshWith(ctx, newText(t), nil)
		if err == nil && answer.Error != "invalid_grant" {
			err = fmt.Errorf("the client is answered %s", answer.Error)
		}
		return err
	})
}

// What was approved for an App opens no other one under its name: neither a request, nor a code, nor a connection.
func TestOAuthAppMadeAnew(t *testing.T) {
	o := newOAuthApp(t, operator.Server.URL, "anew", nil)
	connected := o.connect(t, nil)
	code := o.code(t, nil)
	browser, err := o.okta.NewBrowser()
	must(t, err)
	address, shown, err := o.okta.Begin(t.Context(), browser, nil)
	must(t, err)
	o.decide(t, shown, v1alpha1.DecisionApproved)
	if got := o.status(t, connected.Access); got != http.StatusOK {
		t.Fatalf("the connection is answered %d", got)
	}

	o.anew(t)

	if got := o.status(t, connected.Access); got != http.StatusUnauthorized {
		t.Errorf("an access token of the former App is answered %d", got)
	}
	refuses(t, "invalid_grant")(o.okta.RefreshWith(t.Context(), connected.Refresh, nil))
	refuses(t, "invalid_grant")(o.okta.Redeem(t.Context(), code, nil))
	page, err := browser.Open(t.Context(), address)
	must(t, err)
	if page.Status != http.StatusConflict || page.Location != nil {
		t.Errorf("the page of the former App's request is answered %d, to %v", page.Status, page.Location)
	}
	soon(t, "what the status says", func(ctx context.Context) error {
		var grants v1alpha1.OAuthGrantList
		must(t, operator.Env.Client.List(ctx, &grants, client.InNamespace(o.Namespace)))
		for i := range grants.Items {
			for _, condition := range grants.Items[i].Status.Conditions {
				if grants.Items[i].Status.Refresh != nil && condition.Status == metav1.ConditionFalse && condition.Reason == v1alpha1.ReasonNotHeld {
					return nil
				}
			}
		}
		return errors.New("no grant is said to be of another App")
	})
	if got := o.status(t, o.connect(t, nil).Access); got != http.StatusOK {
		t.Errorf("a new connection is answered %d", got)
	}
}

// After half a minute by the clock, a refresh token that comes back ends the connection: a client that got no answer has asked again by then.
func TestOAuthRefreshTokenUsedAgainLater(t *testing.T) {
	o := newOAuthApp(t, operator.Server.URL, "later", nil)
	first := o.connect(t, nil)
	second := issued(t)(o.okta.RefreshWith(t.Context(), first.Refresh, nil))
	time.Sleep(31 * time.Second)
	refuses(t, "invalid_grant")(o.okta.RefreshWith(t.Context(), first.Refresh, nil))
	refuses(t, "invalid_grant")(o.okta.RefreshWith(t.Context(), second.Refresh, nil))
	for _, access := range []string{first.Access, second.Access} {
		soon(t, "the end of the connection", func(context.Context) error {
			if got := o.status(t, access); got != http.StatusUnauthorized {
				return fmt.Errorf("answered %d", got)
			}
			return nil
		})
	}
}

// A machine client is let in by the App that lists its key, also by one that was made anew with the same key.
func TestMachineClientOfAnAppMadeAnew(t *testing.T) {
	o := newOAuthApp(t, operator.Server.URL, "machineanew", nil)
	key := newECKey(t)
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}}
	must(t, operator.Env.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
	before := app.DeepCopy()
	app.Spec.OAuth.MachineClients = []v1alpha1.MachineClient{{ClientID: "machine", Keys: []string{publicPEM(t, key)}}}
	must(t, operator.Env.Client.Patch(t.Context(), app, client.MergeFrom(before)))
	machine := &okta.Machine{Issuer: o.issuer, ClientID: "machine", Key: key, Algorithm: "ES256"}
	var tokens *okta.Tokens
	get := func(ctx context.Context) (err error) {
		if tokens, err = machine.Token(ctx, nil); err == nil && tokens.Access == "" {
			err = fmt.Errorf("answered %d %s", tokens.Status, tokens.Error)
		}
		return err
	}
	soon(t, "a token of the machine client", get)
	o.connect(t, nil) // the other client beside it
	o.anew(t)
	soon(t, "a token of the App that was made anew", get)
	if got := o.status(t, tokens.Access); got != http.StatusOK {
		t.Errorf("answered %d", got)
	}
}
