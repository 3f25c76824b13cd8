package plugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// deactivate does what Okta does for a leaver, and returns when the access is gone.
func deactivate(t *testing.T, app harness.App, id string) {
	t.Helper()
	exchange, err := h.Client(h.Server, "/scim/v2", app, okta.AppWizard).Do(t.Context(), http.MethodPatch, "/Users/"+id, []byte(
		`{"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "replace", "value": {"active": false}}]}`))
	must(t, err)
	must(t, exchange.ExpectStatus(http.StatusOK))
}

func isGone(t *testing.T, app harness.App, id string) bool {
	t.Helper()
	err := h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: id}, &v1alpha1.User{})
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return apierrors.IsNotFound(err)
}

// What an account may not list is told, with the right that is missing, and the exit status says that the export is not complete.
func TestPersonExportByRights(t *testing.T) {
	app := newApp(t, nil)
	create(t, app, "vada@example.com", `, "externalId": "xv1", "displayName": "Ada"`)
	create(t, app, "canvada@example.com", `, "displayName": "Ada"`)
	evaluated(t, app.Namespace, 2)
	accountWith(t, app.Namespace, "nell").scim("person", "export", "vada@example.com").expect(3, "list users.scim-operator.io in namespace "+app.Namespace)
	a := accountWith(t, app.Namespace, "veda", "scim-operator-viewer").scim("person", "export", "VADA@example.com").expect(1,
		"Not looked at: NameClaim: you lack the right to list nameclaims.scim-operator.io in namespace "+app.Namespace,
		"Not looked at: ClusterRoleBinding: ", "Not looked at: AppRoleBinding in other namespaces: ")
	var document struct {
		Users       []struct{ Spec struct{ UserName string } }
		NotSearched []struct{ What, Why string }
		Mentions    []struct{ Kind string }
	}
	must(t, json.Unmarshal([]byte(a.out), &document))
	if len(document.Users) != 1 || document.Users[0].Spec.UserName != "vada@example.com" || len(document.NotSearched) < 3 {
		t.Errorf("the document is %+v", document)
	}
	if strings.Contains(a.out, "canvada") {
		t.Error("the document tells of another user")
	}
	file := filepath.Join(t.TempDir(), "ada.json")
	all := admin(t, app.Namespace)
	all.scim("person", "export", "xv1", "--file", file).expect(0, "1 User, 0 groups")
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has the mode %v", info.Mode())
	}
	all.scim("person", "export", "bob@example.com").expect(0, "Nothing that was looked at names bob@example.com")
	all.scim("person", "export", "xv1", "-o", "yaml").expect(0, "userName: vada@example.com")
}

// An erasure needs an answer, leaves active users alone, waits for the controller, and names what is left.
func TestPersonErase(t *testing.T) {
	app := newApp(t, nil)
	elsewhere := newApp(t, nil)
	id := create(t, app, "ada@example.com", `, "externalId": "00ada", "role": "developer", "displayName": "Ada Erased"`)
	other := create(t, elsewhere, "ada@example.com", `, "role": "developer"`)
	evaluated(t, elsewhere.Namespace, 1)
	boss := `, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"manager": {"displayName": "Ada Erased"}}`
	report := create(t, app, "lin@example.com", boss)
	post(t, app, "/Groups", fmt.Sprintf(`{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Platform", "members": [{"value": %q}, {"value": %q}]}`, id, report))
	evaluated(t, app.Namespace, 2)
	must(t, h.Env.Client.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "by-hand"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: app.Subject("ada@example.com")}},
	}))
	a := admin(t, app.Namespace)
	a.scim("person", "erase", "bob@example.com", "--yes").expect(2, "no User has the name bob@example.com", "-A looks in all")
	a.scim("person", "erase", "ada@example.com", "--yes").expect(2, "is active", "--active")
	deactivate(t, app, id)
	for _, typed := range []string{"", "y\n", "ada\n", id + "\n"} {
		a.with(t.Context(), typed, "person", "erase", id).expect(2, "User "+app.Namespace+"/"+id, "Group "+app.Namespace, "the person is taken out", "nothing is changed")
	}
	if isGone(t, app, id) {
		t.Fatal("the User was deleted without an answer")
	}
	accountWith(t, app.Namespace, "vino", "scim-operator-viewer").scim("person", "erase", id, "--yes").expect(3, "delete users.scim-operator.io")
	a.with(t.Context(), "ada@example.com\n", "person", "erase", "00ada").expect(1,
		"Left: RoleBinding "+app.Namespace+"/by-hand: names the person in subjects[0].name",
		"Left: User "+elsewhere.Namespace+"/"+other+": another User with a name of the person",
		"Left: User "+app.Namespace+"/"+report+": names the person in spec.enterprise.manager.displayName: the identity provider writes it",
		"is not erased as a whole").lacks("Left: Group", "Left: NameClaim", "Left: AppRoleBinding", "Left: Event")
	if !isGone(t, app, id) {
		t.Error("the User is still there")
	}
	if isGone(t, elsewhere, other) {
		t.Error("the User of another directory is gone")
	}
	h.AccessNow(t, elsewhere.Subject("ada@example.com"), harness.Everywhere(harness.Developer))
}

// A User that another finalizer holds is told, and one that is active is deleted where that is asked for.
func TestPersonEraseThatIsHeld(t *testing.T) {
	app := newApp(t, nil)
	id := create(t, app, "held@example.com", `, "role": "developer"`)
	evaluated(t, app.Namespace, 1)
	user := h.User(t, app, id)
	before := user.DeepCopy()
	user.Finalizers = append(user.Finalizers, "example.com/held")
	must(t, h.Env.Client.Patch(t.Context(), user, client.MergeFrom(before)))
	a := admin(t, app.Namespace)
	a.scim("person", "erase", id, "--yes", "--active", "--wait", "2s").expect(1, "has not finished after 2s", "is still there; its finalizers: example.com/held")
	h.AccessNow(t, app.Subject("held@example.com"), harness.Nowhere())
	user = h.User(t, app, id)
	before = user.DeepCopy()
	user.Finalizers = nil
	must(t, h.Env.Client.Patch(t.Context(), user, client.MergeFrom(before)))
	a.scim("person", "export", "held@example.com", id).expect(0, `"users": []`)
}

// A RevocationList names the person until its time is over, unless the denial is ended.
func TestPersonEraseWithDenial(t *testing.T) {
	app := newApp(t, func(spec *v1alpha1.AppSpec) { spec.Deactivation.DenyRequests = true })
	listed := func() (names []string) {
		lists := &v1alpha1.RevocationListList{}
		must(t, h.Env.Client.List(t.Context(), lists))
		for i := range lists.Items {
			if lists.Items[i].Spec.App.Namespace == app.Namespace {
				for name := range lists.Items[i].Spec.Users() {
					names = append(names, name)
				}
			}
		}
		return names
	}
	a := admin(t, app.Namespace)
	for _, person := range []string{"dora", "dean", "dirk"} {
		id := create(t, app, person+"@example.com", `, "role": "developer"`)
		h.AccessSoon(t, app.Subject(person+"@example.com"), harness.Everywhere(harness.Developer))
		deactivate(t, app, id)
	}
	list := "RevocationList scim-operator-system/" + app.Namespace + ".app"
	a.scim("person", "erase", "dora@example.com", "--yes").expect(0, "Left: "+list+": ends by itself")
	a.scim("person", "erase", "dean@example.com", "--yes", "--end-denial").expect(0, "is erased: 1 User deleted").lacks("Left:")
	time.Sleep(2 * time.Second) // for a controller that would put it back
	if names := fmt.Sprint(listed()); strings.Contains(names, "dean@") || !strings.Contains(names, "dora@") || !strings.Contains(names, "dirk@") {
		t.Errorf("listed are %s", names)
	}
	// To deny no more lifts all, also of users that are gone.
	before := &v1alpha1.App{}
	must(t, h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, before))
	after := before.DeepCopy()
	after.Spec.Deactivation.DenyRequests = false
	must(t, h.Env.Client.Patch(t.Context(), after, client.MergeFrom(before)))
	harness.Eventually(t, limit, "an empty list", func(context.Context) error {
		if names := listed(); len(names) > 0 {
			return errors.New(strings.Join(names, ", "))
		}
		return nil
	})
	a.scim("person", "export", "dora@example.com").expect(0, `"mentions": []`)
}
