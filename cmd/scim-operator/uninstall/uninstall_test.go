package uninstall

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers"
	"github.com/scim-operator/scim-operator/hack/localoperator"
)

func TestInventoryTellsWhatIsTakenFromHowMany(t *testing.T) {
	p := populate(t)
	var out strings.Builder
	u := newUninstaller(t, env.Config, &out)
	inventory, err := u.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inventory.Print(&out)
	for _, want := range []string{
		"3 bindings in 1 App: 1 subject lose it", "App " + p.namespace + "/hr: 1 active and 0 inactive users",
		"objects  1 User", "objects  1 NameClaim", "stops    Deployment scim-operator-system/scim-operator-controller",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	if err := u.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"3 bindings revoked", "still granted: RoleBinding " + p.namespace + "/by-hand gives view to User okta:eve@example.com, a name of App " + p.namespace + "/hr",
		"1 User", "9 CustomResourceDefinitions deleted", "Nothing remains.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	nothingLeft(t, p)
}

func TestEveryStepTwice(t *testing.T) {
	p := populate(t)
	u := newUninstaller(t, env.Config, &strings.Builder{})
	for _, step := range u.steps() {
		for range 2 {
			if _, err := step.do(t.Context()); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
	}
	nothingLeft(t, p)
	if err := u.Run(t.Context()); err != nil { // where nothing is installed
		t.Error(err)
	}
}

// TestInterruptedAfterEachWrite lets each attempt do one write, and then cuts it off: whatever the point, the next one goes on,
// no access comes back, and no object goes before the access.
func TestInterruptedAfterEachWrite(t *testing.T) {
	p := populate(t)
	if !may(t, person, p.namespace) {
		t.Fatal("the person has no access to begin with")
	}
	denied := false
	for attempt := 1; ; attempt++ {
		u := newUninstaller(t, cutConfig(1, func(request *http.Request) {
			if strings.Contains(request.URL.Path, v1alpha1.GroupName) && !denied {
				t.Errorf("%s %s while the person still has access", request.Method, request.URL.Path)
			}
		}), &strings.Builder{})
		err := u.Run(t.Context())
		allowed := may(t, person, p.namespace)
		if allowed && denied {
			t.Fatalf("attempt %d gave the access back", attempt)
		}
		denied = denied || !allowed
		if err == nil {
			t.Logf("done by %d attempts", attempt)
			break
		}
		if !strings.Contains(err.Error(), "cut off before") {
			t.Fatalf("attempt %d: %v", attempt, err)
		}
		if attempt == 500 {
			t.Fatalf("no end in sight: %v", err)
		}
	}
	nothingLeft(t, p)
}

func TestForeignFinalizersAreNamedAndGrantNothing(t *testing.T) {
	const foreign = "example.com/hold"
	p := populate(t)
	hold := func(object client.Object, finalizers []string) {
		t.Helper()
		before := object.DeepCopyObject().(client.Object)
		object.SetFinalizers(finalizers)
		if err := env.Client.Patch(t.Context(), object, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	hold(p.marked, []string{foreign})
	hold(p.leaver, append(p.leaver.Finalizers, foreign))
	for range 2 {
		u := newUninstaller(t, env.Config, &strings.Builder{})
		u.patience = short
		err := u.Run(t.Context())
		var remains remainsError
		if !errors.As(err, &remains) {
			t.Fatalf("it must tell what remains: %v", err)
		}
		for _, want := range []string{
			"RoleBinding " + p.namespace + "/" + p.marked.Name + " grants nothing any more, held by the finalizers " + foreign,
			"User " + p.namespace + "/" + p.leaver.Name + ", held by the finalizers " + foreign,
			"CustomResourceDefinition users.scim-operator.io, for 1 User", "policies, RBAC",
		} {
			if !slices.ContainsFunc(remains, func(line string) bool { return strings.Contains(line, want) }) {
				t.Errorf("%q is not told by\n%v", want, err)
			}
		}
		if may(t, person, p.namespace) {
			t.Error("the person still has access")
		}
	}
	for _, object := range []client.Object{p.marked, p.leaver} {
		if err := env.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		hold(object, nil)
	}
	if err := newUninstaller(t, env.Config, &strings.Builder{}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, p)
}

func TestRefusesWhileAControllerLeads(t *testing.T) {
	p := populate(t)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: localoperator.Namespace, Name: controllers.LeaderElectionID}, Spec: coordinationv1.LeaseSpec{
		HolderIdentity: ptr.To("elsewhere_1"), LeaseDurationSeconds: ptr.To(int32(60)), RenewTime: &metav1.MicroTime{Time: time.Now()},
	}}
	if err := env.Client.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	u := newUninstaller(t, env.Config, &strings.Builder{})
	u.patience = short
	err := u.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "a controller still leads: elsewhere_1") {
		t.Errorf("got %v", err)
	}
	if !may(t, person, p.namespace) {
		t.Error("access was taken while a controller could give it back")
	}
	if err := env.Client.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	if err := newUninstaller(t, env.Config, &strings.Builder{}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMissingRightsAreNamedBeforeAnythingChanges(t *testing.T) {
	p := populate(t)
	restricted := rest.CopyConfig(env.Config)
	restricted.Impersonate = rest.ImpersonationConfig{UserName: "mallory", Groups: []string{"system:authenticated"}}
	u := newUninstaller(t, restricted, &strings.Builder{})
	err := u.CheckRights(t.Context())
	if err == nil {
		t.Fatal("nothing was said")
	}
	for _, want := range []string{"nothing was changed", "patch deployments.apps", "delete rolebindings.rbac.authorization.k8s.io", "escalate clusterroles.rbac.authorization.k8s.io", "delete users.scim-operator.io", "list pods"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err := newUninstaller(t, env.Config, &strings.Builder{}).CheckRights(t.Context()); err != nil {
		t.Errorf("the administrator: %v", err)
	}
	if !may(t, person, p.namespace) {
		t.Error("the person lost access")
	}
	if err := newUninstaller(t, env.Config, &strings.Builder{}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
