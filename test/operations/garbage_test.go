package operations_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	// damage is how long an object that the API server cannot read stays: long enough for every back-off to reach its longest wait.
	damage = 75 * time.Second
	// mendedWithin is how much later than the API server's own watches the operator's go on.
	mendedWithin = 10 * time.Second
)

// works has a new token open an App, and a user get access by it and lose it. It returns how long that took, which is seconds on a busy machine.
func works(t *testing.T, app harness.App, name string) time.Duration {
	t.Helper()
	begun := time.Now()
	app.Token = operator.NewToken(t, app)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	defer scim.Close()
	harness.Eventually(t, 5*patience, "a new token", func(ctx context.Context) error {
		_, err := scim.TestConnection(ctx, false)
		return err
	})
	opened := time.Since(begun)
	one := person("damaged." + name)
	_, err := scim.AssignUser(t.Context(), one)
	must(t, err)
	operator.AccessSoon(t, app.Subject(one.Profile.UserName), harness.Everywhere(harness.Viewer))
	_, err = scim.Deactivate(t.Context(), one)
	must(t, err)
	operator.AccessNow(t, app.Subject(one.Profile.UserName), harness.Nowhere())
	took := time.Since(begun)
	t.Logf("%s: a new token opens after %s, a user gets access and loses it after %s", name, opened.Round(time.Millisecond), took.Round(time.Millisecond))
	return took
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// An object in etcd that the API server itself cannot read fails every list and watch of its kind. Clients are answered from memory for a while
// and 429 then. Once it is deleted, new tokens open, users get access and lose it, within seconds.
func TestObjectThatTheAPIServerCannotRead(t *testing.T) {
	for _, test := range []struct {
		resource, kind string
		damage         time.Duration
	}{
		{"scimtokens", "ScimToken", time.Second}, {"apps", "App", damage}, {"users", "User", 200 * time.Second},
	} {
		t.Run(fmt.Sprintf("%s for %s", test.resource, test.damage), func(t *testing.T) {
			resource, kind := test.resource, test.kind
			operator.ShowOnFailure(t)
			app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "damaged", nil)
			scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
			_, err := scim.AssignUser(t.Context(), person("damaged.known."+resource))
			must(t, err)
			before := works(t, app, "before."+resource)
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
			must(t, operator.Env.Client.List(t.Context(), list, client.InNamespace(app.Namespace)))
			known := list.Items[0].DeepCopy()
			remove := putGarbage(t, resource, app.Namespace, "garbage")
			awaitUnreadable(t, list)
			for begun := time.Now(); time.Since(begun) < test.damage; time.Sleep(2 * time.Second) {
				answer, err := scim.Do(t.Context(), http.MethodGet, "/Users?startIndex=1&count=2", nil)
				must(t, err)
				if answer.Status != http.StatusOK {
					refused(t, "a list", answer)
				}
			}
			remove()
			mended := time.Now()
			took := func() time.Duration { return time.Since(mended).Round(100 * time.Millisecond) }
			must(t, operator.Env.Client.Patch(t.Context(), known, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"example.com/mended":"yes"}}}`))))
			harness.Eventually(t, 5*patience, "a change in the API server's memory", func(ctx context.Context) error {
				err := operator.Env.Client.List(ctx, list, &client.ListOptions{Namespace: app.Namespace, Raw: &metav1.ListOptions{ResourceVersion: "0"}})
				if isMended := func(object unstructured.Unstructured) bool { return object.GetLabels()["example.com/mended"] != "" }; err == nil && !slices.ContainsFunc(list.Items, isMended) {
					err = errors.New("it is not there yet")
				}
				return err
			})
			served := took()
			t.Logf("%s: the API server's watches go on after %s", kind, served)
			if after := works(t, app, "after."+resource); after > mendedWithin+3*before {
				t.Errorf("%s: everything works %s after the API server's watches; before the damage it took %s", kind, after, before)
			}
		})
	}
}

// awaitUnreadable returns once the API server fails to list a kind.
func awaitUnreadable(t *testing.T, list *unstructured.UnstructuredList) {
	t.Helper()
	harness.Eventually(t, patience, "the failure of lists", func(ctx context.Context) error {
		if err := operator.Env.Client.List(ctx, list); err == nil {
			return fmt.Errorf("a list of %d objects", len(list.Items))
		}
		return nil
	})
}

// putGarbage writes what is no object behind the API server's back, and returns what deletes it again, as docs/disasters.md does.
func putGarbage(t *testing.T, resource, namespace, name string) (remove func()) {
	t.Helper()
	key := "/registry/" + v1alpha1.GroupName + "/" + resource + "/" + namespace + "/" + name
	operator.Etcd(t, "/v3/kv/put", map[string]string{"key": encode(key), "value": encode("\x00this is no object")}, nil)
	fromEtcd := func() { operator.Etcd(t, "/v3/kv/deleterange", map[string]string{"key": encode(key)}, nil) }
	t.Cleanup(fromEtcd)
	version, err := operator.Clientset.Discovery().ServerVersion()
	must(t, err)
	if parsed, err := utilversion.ParseGeneric(version.GitVersion); err != nil || parsed.LessThan(utilversion.MustParseGeneric("1.37.0")) {
		t.Logf("Kubernetes %s deletes nothing that it cannot read: etcd does", version.GitVersion)
		return fromEtcd
	}
	return func() {
		newWorkplace(t, []string{"cluster"}, operator).follow(t, "disasters.md", "delete what cannot be read", "NAMESPACE="+namespace, "RESOURCE="+resource, "NAME="+name)
	}
}
