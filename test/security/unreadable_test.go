package security_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
	"github.com/scim-operator/scim-operator/test/testenv"
)

// loosely runs a function while the CRDs have no patterns and no rules, as if they were of an older version.
func loosely(t *testing.T, write func()) {
	t.Helper()
	for _, resource := range []string{"apps", "scimtokens", "users"} {
		name := resource + ".scim-operator.io"
		strict := definition(t, name).Object["spec"]
		redefine(t, name, func(definition map[string]any) { loosen(definition["spec"]) })
		defer redefine(t, name, func(definition map[string]any) { definition["spec"] = strict })
	}
	write()
}

// redefine changes a definition, of which the API server writes the status meanwhile.
func redefine(t *testing.T, name string, change func(definition map[string]any)) {
	t.Helper()
	must(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		current := definition(t, name)
		change(current.Object)
		return operator.Env.Client.Update(context.WithoutCancel(t.Context()), current)
	}))
}

func definition(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	found := &unstructured.Unstructured{}
	found.SetAPIVersion("apiextensions.k8s.io/v1")
	found.SetKind("CustomResourceDefinition")
	must(t, operator.Env.Client.Get(context.WithoutCancel(t.Context()), client.ObjectKey{Name: name}, found))
	return found
}

// loosen removes patterns and rules wherever they are.
func loosen(value any) {
	switch value := value.(type) {
	case map[string]any:
		delete(value, "x-kubernetes-validations")
		if _, isText := value["pattern"].(string); isText {
			delete(value, "pattern")
		}
		for _, member := range value {
			loosen(member)
		}
	case []any:
		for _, element := range value {
			loosen(element)
		}
	}
}

// spoil puts a value that Go cannot read into an object, as soon as the API server takes it.
func spoil(t *testing.T, object client.Object, patch string) {
	t.Helper()
	harness.EventuallyEvery(t, 100*time.Millisecond, patience, "the API server takes "+patch, func(ctx context.Context) error {
		raw := &unstructured.Unstructured{}
		gvk, err := operator.Env.Client.GroupVersionKindFor(object)
		must(t, err)
		raw.SetGroupVersionKind(gvk)
		raw.SetNamespace(object.GetNamespace())
		raw.SetName(object.GetName())
		err = operator.Env.Client.Patch(ctx, raw, mergePatch(patch))
		if !apierrors.IsInvalid(err) {
			must(t, err)
		}
		return err
	})
}

// leaves deactivates a person, and returns how long the access took to end.
func (n *tenant) leaves(t *testing.T, p *person) time.Duration {
	t.Helper()
	begun := time.Now()
	_, err := p.client.Deactivate(t.Context(), p.Assignment)
	must(t, err)
	n.viewSoon(t, p.subject, false)
	return time.Since(begun)
}

// suspends makes a token, suspends it, and returns how long it went on opening the App.
func (n *tenant) suspends(t *testing.T, app, name string) time.Duration {
	t.Helper()
	object, text := n.newToken(t, app, name)
	must(t, localoperator.AcceptToken(t.Context(), n.admin, object))
	must(t, n.admin.Create(t.Context(), object))
	n.answersSoon(t, text, 200)
	begun := time.Now()
	must(t, n.admin.Patch(t.Context(), object, mergePatch(`{"spec":{"suspended":true}}`)))
	n.answersSoon(t, text, 401)
	return time.Since(begun)
}

// slow is more than a second's work on a busy machine, and far less than a watch that has stopped.
const slow = 10 * time.Second

func (n *tenant) works(t *testing.T, scim *okta.Client, app *v1alpha1.App, when string) {
	t.Helper()
	p := assign(t, scim, app, "bob-"+when, "viewer")
	n.viewSoon(t, p.subject, true)
	testenv.MostlyWithin(t, when+": another tenant's leaver is denied", slow, 1, func() time.Duration {
		took := n.leaves(t, p)
		_, err := p.client.Reactivate(t.Context(), p.Assignment)
		must(t, err)
		n.viewSoon(t, p.subject, true)
		return took
	})
	round := 0
	testenv.MostlyWithin(t, when+": another tenant's suspended token is refused", slow, 1, func() time.Duration {
		round++
		return n.suspends(t, app.Name, fmt.Sprintf("suspended-%s-%d", when, round))
	})
}

// Objects that Go cannot read, from before the rules that refuse them: they harm only their own tenant, they open and grant
// nothing, they are told of, and they work again once they are mended. A restart meets them, too.
func TestUnreadableObjects(t *testing.T) {
	operator.ShowOnFailure(t)
	other, broken := newTenant(t), newTenant(t)
	otherApp, app := other.newApp("other"), broken.newApp("broken")
	otherClient, scim := other.opened(t, otherApp), broken.opened(t, app)
	jane, mike := assign(t, scim, app, "jane", "viewer"), assign(t, scim, app, "mike", "viewer")
	broken.viewSoon(t, jane.subject, true)
	broken.viewSoon(t, mike.subject, true)
	scimToken, text := broken.newToken(t, app.Name, "unreadable")
	must(t, localoperator.AcceptToken(t.Context(), broken.admin, scimToken))
	must(t, broken.admin.Create(t.Context(), scimToken))
	broken.answersSoon(t, text, 200)
	janeObject := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: broken.namespace, Name: jane.id}}
	created := operator.User(t, harness.App{Namespace: broken.namespace}, jane.id).Spec.CreatedAt

	loosely(t, func() {
		spoil(t, app, `{"spec":{"safety":{"maxRemovals":5,"window":"1d"}}}`)
		spoil(t, scimToken, `{"spec":{"expiresAt":"2099-02-01t00:00:00z"}}`)
		spoil(t, janeObject, `{"spec":{"createdAt":"yesterday"}}`)
	})

	fails := func(t *testing.T, when string) {
		t.Helper()
		broken.answersSoon(t, text, 401)
		broken.viewSoon(t, jane.subject, false)
		other.works(t, otherClient, otherApp, when)
		newcomer := assign(t, scim, app, "newcomer-"+when, "viewer")
		time.Sleep(time.Second) // for what must not happen
		must(t, broken.views(t.Context(), newcomer.subject, false))
	}
	t.Run("while the processes run", func(t *testing.T) { fails(t, "running") })
	must(t, broken.views(t.Context(), mike.subject, true)) // what an App gave before it became unreadable stays
	t.Run("they are told of", func(t *testing.T) {
		for _, told := range []string{`"field":"spec.safety.window"`, `"field":"spec.expiresAt"`, `"field":"spec.createdAt"`} {
			for process, log := range map[string]*harness.Log{"server": operator.ServerLog, "controller": operator.ControllerLog} {
				if !strings.Contains(log.String(), told) {
					t.Errorf("the %s's log has no %s", process, told)
				}
			}
		}
		for _, kind := range []string{"App", "ScimToken", "User"} {
			for _, process := range []*localoperator.Process{operator.Server, operator.Controller} {
				if metric(t, process, "scim_operator_unreadable_objects", `kind="`+kind+`"`) == 0 {
					t.Errorf("no metric of the %s tells of a %s", process.Name(), kind)
				}
			}
		}
		for _, object := range []string{app.Name, scimToken.Name, jane.id} {
			harness.Eventually(t, patience, "an Event on "+object, func(ctx context.Context) error { return hasEvent(ctx, broken, object) })
		}
	})
	t.Run("after a restart", func(t *testing.T) {
		address := strings.TrimPrefix(operator.Server.URL, "http://")
		must(t, operator.Server.Stop())
		must(t, operator.Controller.Stop())
		var err error
		operator.Controller, err = operator.RunController(t.Context())
		must(t, err)
		operator.Server, err = operator.RunServer(t.Context(), address)
		must(t, err)
		fails(t, "restarted")
		must(t, broken.views(t.Context(), mike.subject, true))
	})
	t.Run("leavers of the App itself", func(t *testing.T) {
		t.Logf("denied after %s", broken.leaves(t, mike).Round(time.Millisecond))
	})
	t.Run("once they are mended", func(t *testing.T) {
		spoil(t, app, `{"spec":{"safety":{"window":"24h"}}}`)
		spoil(t, scimToken, `{"spec":{"expiresAt":null}}`)
		spoil(t, janeObject, `{"spec":{"createdAt":"`+created.UTC().Format(metav1.RFC3339Micro)+`"}}`)
		broken.answersSoon(t, text, 200)
		broken.viewSoon(t, jane.subject, true)
		broken.viewSoon(t, app.Spec.Kubernetes.Prefix()+"newcomer-running", true)
	})
}

func hasEvent(ctx context.Context, n *tenant, name string) error {
	list := &corev1.EventList{}
	if err := n.admin.List(ctx, list, client.InNamespace(n.namespace)); err != nil {
		return err
	}
	for _, event := range list.Items {
		if event.Reason == "Unreadable" && event.InvolvedObject.Name == name {
			return nil
		}
	}
	return fmt.Errorf("%d Events, none of them says Unreadable", len(list.Items))
}
