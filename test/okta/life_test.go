package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// patience bounds every wait for the controller, on a machine that is busy with other work, too: the product aims at a second, and
// benchmarks measure it.
const patience = time.Minute

// life is one person's way through the company.
type life struct {
	okta   *okta.Client
	app    harness.App
	person *okta.Assignment
}

// The whole life of an assignment: what Okta does, and what the cluster says of it.
func TestLife(t *testing.T) {
	eachDialect(t, func(t *testing.T, dialect okta.Dialect) {
		client, app := quickstart(t, dialect)
		name := newName(t, "Jane."+strings.ToLower(string(dialect)))
		l := &life{okta: client, app: app, person: okta.Assign(okta.NewProfile(name))}
		say(t)(client.TestConnection(t.Context(), true))
		for _, stage := range []struct {
			name string
			run  func(*testing.T)
		}{
			{"assigned", l.assigned},
			{"shown by kubectl", l.shown},
			{"bound", l.bound},
			{"role changed", l.roleChanged},
			{"deactivated", l.deactivated},
			{"readable while inactive", l.readableWhileInactive},
			{"reactivated", l.reactivated},
			{"posted again with the same externalId", l.postedAgain},
			{"posted again under another name", l.postedAgainRenamed},
			{"renamed", l.renamed},
			{"deleted", l.deleted},
			{"name used again", l.usedAgain},
		} {
			if !t.Run(stage.name, stage.run) {
				return
			}
		}
	})
}

func (l *life) subject() string { return l.app.Subject(l.person.Profile.UserName) }

func (l *life) assigned(t *testing.T) {
	conversation, err := l.okta.AssignUser(t.Context(), l.person)
	if last := say(t)(conversation, err); conversation.Methods() != "GET POST" || last.Status != http.StatusCreated {
		t.Fatalf("%q answered %d, want GET POST answered 201", conversation.Methods(), last.Status)
	}
	// The App's default role, in every scope.
	operator.AccessSoon(t, l.subject(), harness.Everywhere(harness.Viewer))
}

func (l *life) shown(t *testing.T) {
	l.tableShows(t, harness.Row{"ACTIVE": "true", "ROLES": "viewer", "GRANTED": "True", "REVOKED": ""})
	titles, row := operator.Table(t, "users", l.app.Namespace, l.person.ID)
	want := []string{"NAME", "USERNAME", "DISPLAY NAME", "ACTIVE", "APP", "ROLES", "GRANTED", "REVOKED", "REASON", "AGE"}
	if !slices.Equal(titles, want) {
		t.Errorf("kubectl get users shows the columns %q, want %q", titles, want)
	}
	if row["AGE"] == "" {
		t.Errorf("the age is empty in %v", row)
	}
	user := operator.User(t, l.app, l.person.ID)
	if user.Spec.App != l.app.Name || user.Spec.ExternalID != l.person.Profile.ExternalID || !user.Spec.Active {
		t.Errorf("the User has app %q, externalId %q, active %t", user.Spec.App, user.Spec.ExternalID, user.Spec.Active)
	}
	if got := user.Status.KubernetesUsername; got != l.subject() {
		t.Errorf("status.kubernetesUsername is %q, want %q", got, l.subject())
	}
	if !user.IsNameReserved() {
		t.Errorf("the userName is not reserved: %+v", user.Status)
	}
	for _, condition := range []string{v1alpha1.ConditionAccessGranted, v1alpha1.ConditionReady} {
		if !meta.IsStatusConditionTrue(user.Status.Conditions, condition) {
			t.Errorf("condition %s is not True: %+v", condition, user.Status.Conditions)
		}
	}
	for _, role := range user.Status.Roles {
		if role.Role != harness.Viewer || len(role.Reasons) == 0 {
			t.Errorf("status.roles has %+v, want viewer and a reason", role)
		}
	}
}

// tableShows waits until the row of `kubectl get users` has the cells; the status follows the bindings.
func (l *life) tableShows(t *testing.T, cells harness.Row) {
	t.Helper()
	cells["USERNAME"], cells["DISPLAY NAME"], cells["APP"] = l.person.Profile.UserName, l.person.Profile.DisplayName, l.app.Name
	soon(t, "kubectl get users", func(context.Context) error {
		_, row := operator.Table(t, "users", l.app.Namespace, l.person.ID)
		for title, want := range cells {
			if row[title] != want {
				return fmt.Errorf("column %s shows %q, want %q, in %v", title, row[title], want, row)
			}
		}
		return nil
	})
}

// bound checks the two layers of bindings: one AppRoleBinding a scope, and the native ones made from it.
func (l *life) bound(t *testing.T) {
	for scope, namespace := range map[string]string{"us1": "team-a", "emea2": "team-b"} {
		var binding *v1alpha1.AppRoleBinding
		soon(t, "the AppRoleBinding", func(context.Context) error {
			if binding = l.appRoleBinding(t, harness.Viewer, scope); binding == nil {
				return fmt.Errorf("none of role viewer in scope %s names %s", scope, l.subject())
			}
			if !meta.IsStatusConditionTrue(binding.Status.Conditions, v1alpha1.ConditionReady) || binding.Status.NativeBindingCount == 0 {
				return fmt.Errorf("%s has the status %+v, want it ready with native bindings", binding.Name, binding.Status)
			}
			return nil
		})
		for _, native := range binding.Status.NativeBindings {
			roleBinding := &rbacv1.RoleBinding{}
			if err := operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: native.Namespace, Name: native.Name}, roleBinding); err != nil {
				t.Fatal(err)
			}
			if roleBinding.Namespace != namespace || roleBinding.RoleRef.Kind != "ClusterRole" || roleBinding.RoleRef.Name != "quickstart-viewer" {
				t.Errorf("RoleBinding %s/%s binds %+v, want quickstart-viewer in %s", roleBinding.Namespace, roleBinding.Name, roleBinding.RoleRef, namespace)
			}
		}
	}
	// Two AppRoleBindings and two RoleBindings, nothing more.
	if bindings := operator.BindingsOf(t, l.subject()); len(bindings) != 4 {
		t.Errorf("%s is named by %q, want 2 AppRoleBindings and 2 RoleBindings", l.subject(), bindings)
	}
}

func (l *life) appRoleBinding(t *testing.T, role, scope string) *v1alpha1.AppRoleBinding {
	t.Helper()
	list := &v1alpha1.AppRoleBindingList{}
	if err := operator.Env.Client.List(t.Context(), list, client.InNamespace(l.app.Namespace)); err != nil {
		t.Fatal(err)
	}
	for i, binding := range list.Items {
		names := func(s v1alpha1.AppRoleSubject) bool { return s.User == l.person.ID && s.Name == l.subject() }
		if binding.Spec.App == l.app.Name && binding.Spec.RoleRef.Name == role && binding.Spec.Scope == scope && slices.ContainsFunc(binding.Spec.Subjects, names) {
			return &list.Items[i]
		}
	}
	return nil
}

func (l *life) roleChanged(t *testing.T) {
	for _, role := range []string{harness.Developer, harness.Viewer, harness.Developer} {
		l.person.Profile.Custom = okta.ObjectOf("role", role)
		if got := say(t)(l.okta.PushProfile(t.Context(), l.person)).At("role"); got != role {
			t.Fatalf("the answer has role %v, want %s", got, role)
		}
		operator.AccessSoon(t, l.subject(), harness.Everywhere(role))
	}
	l.tableShows(t, harness.Row{"ACTIVE": "true", "ROLES": "developer", "GRANTED": "True"})
	for _, scope := range []string{"us1", "emea2"} {
		if binding := l.appRoleBinding(t, harness.Viewer, scope); binding != nil {
			t.Errorf("AppRoleBinding %s of the former role still names %s", binding.Name, l.subject())
		}
	}
}

// deactivated asks without polling: when the answer has come, the access is gone.
func (l *life) deactivated(t *testing.T) {
	conversation, err := l.okta.Deactivate(t.Context(), l.person)
	last := say(t)(conversation, err)
	operator.AccessNow(t, l.subject(), harness.Nowhere())
	t.Logf("the answer came after %s", last.Duration.Round(time.Millisecond))
	if want := map[okta.Dialect]string{okta.AppWizard: "GET PUT", okta.Template: "PATCH"}[l.okta.Dialect]; conversation.Methods() != want {
		t.Errorf("the conversation was %q, want %q", conversation.Methods(), want)
	}
	if got := last.Text("id"); got != l.person.ID {
		t.Errorf("the answer has the id %s, want %s", got, l.person.ID)
	}
	operator.UnboundNow(t, l.subject())
}

func (l *life) readableWhileInactive(t *testing.T) {
	if got := get(t, l.okta, l.person.ID).At("active"); got != false {
		t.Errorf("active is %v, want false", got)
	}
	for _, filter := range []string{
		okta.Equals("userName", l.person.Profile.UserName),
		okta.Equals("externalId", l.person.Profile.ExternalID),
		okta.Equals("id", l.person.ID),
	} {
		soon(t, filter, func(context.Context) error {
			if ids := find(t, l.okta, filter); !slices.Equal(ids, []string{l.person.ID}) {
				return fmt.Errorf("found %q, want %q", ids, l.person.ID)
			}
			return nil
		})
	}
	soon(t, "the import", func(ctx context.Context) error {
		users, _, err := l.okta.Import(ctx)
		if err != nil {
			return err
		}
		for _, user := range users {
			if okta.At(user, "id") == l.person.ID && okta.At(user, "active") == false {
				return nil
			}
		}
		return fmt.Errorf("%d users, none with id %s and active false", len(users), l.person.ID)
	})
	l.tableShows(t, harness.Row{"ACTIVE": "false", "ROLES": "", "GRANTED": "False", "REVOKED": "True"})
	if user := operator.User(t, l.app, l.person.ID); !meta.IsStatusConditionTrue(user.Status.Conditions, v1alpha1.ConditionAccessRevoked) {
		t.Errorf("condition AccessRevoked is not True: %+v", user.Status.Conditions)
	}
}

func (l *life) reactivated(t *testing.T) {
	l.person.Profile.FamilyName = "Returned"
	conversation, err := l.okta.Reactivate(t.Context(), l.person)
	say(t)(conversation, err)
	if strings.Contains(conversation.Methods(), "POST") {
		t.Errorf("the conversation was %q: the look-up should have found the user", conversation.Methods())
	}
	operator.AccessSoon(t, l.subject(), harness.Everywhere(harness.Developer))
}

// postedAgain is Okta with no memory of the person: POST with the externalId of an inactive user restores that user.
func (l *life) postedAgain(t *testing.T) {
	before := l.person.ID
	say(t)(l.okta.Deactivate(t.Context(), l.person))
	operator.AccessNow(t, l.subject(), harness.Nowhere())
	say(t)(l.okta.Create(t.Context(), l.person))
	if l.person.ID != before {
		t.Fatalf("the id is now %s, want %s as before", l.person.ID, before)
	}
	operator.AccessSoon(t, l.subject(), harness.Everywhere(harness.Developer))
}

func (l *life) postedAgainRenamed(t *testing.T) {
	before, former := l.person.ID, l.subject()
	say(t)(l.okta.Deactivate(t.Context(), l.person))
	l.person.Profile.UserName = newName(t, "jane.married")
	say(t)(l.okta.AssignUser(t.Context(), l.person))
	if l.person.ID != before {
		t.Fatalf("the id is now %s, want %s as before", l.person.ID, before)
	}
	operator.AccessSoon(t, l.subject(), harness.Everywhere(harness.Developer))
	operator.AccessNow(t, former, harness.Nowhere())
}

func (l *life) renamed(t *testing.T) {
	formerName, former := l.person.Profile.UserName, l.subject()
	l.person.Profile.UserName = newName(t, "jane.renamed")
	say(t)(l.okta.PushProfile(t.Context(), l.person))
	operator.AccessSoon(t, l.subject(), harness.Everywhere(harness.Developer))
	operator.AccessSoon(t, former, harness.Nowhere())
	if ids := find(t, l.okta, okta.Equals("userName", formerName)); len(ids) != 0 {
		t.Errorf("the former name still finds %q", ids)
	}
	if ids := find(t, l.okta, okta.Equals("userName", l.person.Profile.UserName)); !slices.Equal(ids, []string{l.person.ID}) {
		t.Errorf("the new name finds %q, want %q", ids, l.person.ID)
	}
	// The former name is free, and no old access comes with it.
	other := okta.Assign(okta.NewProfile(formerName))
	say(t)(l.okta.AssignUser(t.Context(), other))
	if other.ID == l.person.ID {
		t.Errorf("another person under the former name got the same id %s", other.ID)
	}
	operator.AccessSoon(t, former, harness.Everywhere(harness.Viewer))
}

func (l *life) deleted(t *testing.T) {
	answer := do(t, l.okta, http.MethodDelete, "/Users/"+l.person.ID, "")
	must(t, answer.ExpectStatus(http.StatusNoContent))
	operator.AccessNow(t, l.subject(), harness.Nowhere())
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		must(t, do(t, l.okta, method, "/Users/"+l.person.ID, "").ExpectError(http.StatusNotFound, ""))
	}
	operator.UnboundNow(t, l.subject())
	if ids := find(t, l.okta, okta.Equals("userName", l.person.Profile.UserName)); len(ids) != 0 {
		t.Errorf("the deleted user's name still finds %q", ids)
	}
}

func (l *life) usedAgain(t *testing.T) {
	before := l.person.ID
	say(t)(l.okta.Create(t.Context(), l.person))
	if l.person.ID == before {
		t.Errorf("the id %s of a deleted user was given again", before)
	}
	operator.AccessSoon(t, l.subject(), harness.Everywhere(harness.Developer))
}
