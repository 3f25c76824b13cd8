package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// While no controller runs, a backup brings objects back with their statuses: a user with a name that another user has by now, and a token
// that was deleted. Neither server believes them. With a controller the token opens the App again, since that lists it; the user stays hidden.
func TestServersBelieveNoRestoredStatus(t *testing.T) {
	app := newApp(t, operator.Server, 2*time.Second)
	second, err := operator.RunServer(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	harness.StopAtEnd(t, second)
	own := app
	own.Token = newTokenText(t)
	scimToken := operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(own.Token)})
	operator.Opens(t, second, own)
	current(t, scimToken)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	first := newPerson("restored")
	if _, err := scim.AssignUser(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	operator.AccessSoon(t, app.Subject(first.Profile.UserName), harness.Everywhere(harness.Viewer))
	var user *v1alpha1.User
	harness.Eventually(t, recovery, "the user has a status", func(context.Context) error {
		if user = operator.User(t, app, first.ID); !user.IsNameReserved() {
			return fmt.Errorf("status %+v", user.Status)
		}
		return nil
	})
	answer, err := scim.Do(t.Context(), http.MethodDelete, "/Users/"+first.ID, nil)
	if err != nil || answer.Status != http.StatusNoContent {
		t.Fatalf("DELETE: %v %+v", err, answer)
	}
	heir := okta.Assign(first.Profile)
	if err := patiently(t.Context(), recovery, func() error { _, err := scim.AssignUser(t.Context(), heir); return err }); err != nil {
		t.Fatal(err)
	}
	if err := operator.Env.Client.Delete(t.Context(), scimToken.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	operator.Refuses(t, operator.Server, own, recovery)
	operator.Refuses(t, second, own, recovery)
	if err := operator.Controller.Kill(); err != nil {
		t.Fatal(err)
	}
	started := false
	start := func() {
		if started {
			return
		}
		started = true
		if operator.Controller, err = operator.RunController(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	defer start()

	restoreWithStatus(t, user)
	restoreWithStatus(t, scimToken)
	replicas := []*okta.Client{operator.Client(operator.Server, "/scim/v2", app, okta.Template), operator.Client(second, "/scim/v2", app, okta.Template)}
	// Once a server shows a user, and takes a token, that were written now with statuses of their own, it has seen what was written before.
	seen, marker := app, ownStatusUser(t, user)
	seen.Token = newTokenText(t)
	ownStatusToken(t, app, seen.Token)
	operator.Opens(t, operator.Server, seen)
	operator.Opens(t, second, seen)
	for _, server := range replicas {
		harness.Eventually(t, recovery, "the server lists the marker", func(ctx context.Context) error {
			answer, err := server.Do(ctx, http.MethodGet, "/Users?filter="+url.QueryEscape(`title eq "marker"`), nil)
			if err != nil {
				return err
			}
			if listed := answer.Resources(); len(listed) != 1 || okta.At(listed[0], "id") != marker {
				return fmt.Errorf("answered %s", answer)
			}
			return nil
		})
		onlyHeir(t, server, first, heir)
	}
	for _, server := range []*localoperator.Process{operator.Server, second} {
		answer, err := operator.Client(server, "/scim/v2", own, okta.AppWizard).Do(t.Context(), http.MethodGet, "/Users?count=1", nil)
		if err != nil || answer.Status != http.StatusUnauthorized {
			t.Errorf("the restored token, without a controller: %v, %+v", err, answer)
		}
	}
	start()
	operator.Opens(t, operator.Server, own)
	operator.Opens(t, second, own)
	for _, server := range replicas {
		onlyHeir(t, server, first, heir)
	}
	harness.Eventually(t, recovery, "the restored user is told that its name is taken", func(context.Context) error {
		restored := operator.User(t, app, first.ID)
		for _, c := range restored.Status.Conditions {
			if c.Type == v1alpha1.ConditionNameReserved && c.Status == metav1.ConditionFalse && restored.Status.UID == string(restored.UID) && len(restored.Status.Roles) == 0 {
				return nil
			}
		}
		return fmt.Errorf("status %+v", restored.Status)
	})
}

func newTokenText(t *testing.T) string {
	t.Helper()
	text, err := token.New()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// current reads an object anew.
func current(t *testing.T, object client.Object) {
	t.Helper()
	if err := operator.Env.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
}

// ownStatusUser writes a user with its claim, and a status for itself, as a controller would. It returns the id.
func ownStatusUser(t *testing.T, like *v1alpha1.User) string {
	t.Helper()
	const id, name = "marker-aaaaaaaaaa", "marker@example.com"
	made := &v1alpha1.User{
		ObjectMeta: metav1.ObjectMeta{Namespace: like.Namespace, Name: id},
		Spec:       v1alpha1.UserSpec{App: like.Spec.App, UserName: name, UserNameKey: claims.Key(name), Active: true, Title: "marker", CreatedAt: like.Spec.CreatedAt},
	}
	claim := &v1alpha1.NameClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: like.Namespace, Name: claims.Name(like.Spec.App, v1alpha1.ClaimUserName, claims.Key(name))},
		Spec:       v1alpha1.NameClaimSpec{App: like.Spec.App, Attribute: v1alpha1.ClaimUserName, Value: claims.Key(name), Holder: id},
	}
	for _, object := range []client.Object{made, claim} {
		if err := operator.Env.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	made.Status = v1alpha1.UserStatus{UID: string(made.UID), ObservedGeneration: made.Generation, ReservedKey: made.Spec.UserNameKey}
	if err := operator.Env.Client.Status().Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	return id
}

// ownStatusToken makes a token that the App lists, with the status that a controller would write.
func ownStatusToken(t *testing.T, app harness.App, text string) {
	t.Helper()
	made := operator.CreateToken(t, app, v1alpha1.ScimTokenSpec{Digest: token.Digest(text)})
	current(t, made)
	made.Status.UID, made.Status.ObservedGeneration, made.Status.Digest = string(made.UID), made.Generation, token.Digest(text)
	if err := operator.Env.Client.Status().Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
}

// onlyHeir sees that a server shows one user of the name, and not the former one.
func onlyHeir(t *testing.T, server *okta.Client, former, heir *okta.Assignment) {
	t.Helper()
	answer, err := server.Do(t.Context(), http.MethodGet, "/Users/"+former.ID, nil)
	if err != nil || answer.Status != http.StatusNotFound {
		t.Errorf("GET of the restored user: %v, %+v", err, answer)
	}
	filter := url.Values{"filter": {fmt.Sprintf("userName eq %q", heir.Profile.UserName)}}
	for range 5 {
		if err := found(t.Context(), server, heir); err != nil {
			t.Errorf("the user with the name: %v", err)
		}
		if answer, err = server.Do(t.Context(), http.MethodGet, "/Users?"+filter.Encode(), nil); err != nil || answer.Number("totalResults") != 1 {
			t.Errorf("the look-up of the name: %v, %+v", err, answer)
		}
	}
}

// restoreWithStatus creates an object anew and writes the status that it had, as a tool for backups does.
func restoreWithStatus(t *testing.T, object client.Object) {
	t.Helper()
	made := object.DeepCopyObject().(client.Object)
	made.SetUID(types.UID(""))
	made.SetResourceVersion("")
	made.SetManagedFields(nil)
	if err := operator.Env.Client.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	switch made := made.(type) {
	case *v1alpha1.User:
		made.Status = object.(*v1alpha1.User).Status
	case *v1alpha1.ScimToken:
		made.Status = object.(*v1alpha1.ScimToken).Status
	}
	if err := operator.Env.Client.Status().Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
}
