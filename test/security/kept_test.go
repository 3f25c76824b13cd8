package security_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// enforced waits until the controller has seen an App in mode Enforce.
func enforced(t testing.TB, app *v1alpha1.App) {
	t.Helper()
	harness.Eventually(t, patience, "status.enforced", func(ctx context.Context) error {
		if err := operator.Env.Client.Get(ctx, client.ObjectKeyFromObject(app), app); err != nil {
			return err
		}
		if !app.Status.Enforced {
			return errors.New("it is false")
		}
		return nil
	})
}

// An account that may not bind what an App grants puts no App of its own in its place: neither by deletion, nor by edits, nor by way of
// the mode in which it binds nothing. A tool that sends differences would add the grants to that one later.
func TestAppIsGivenUpByNoOtherAuthor(t *testing.T) {
	n := newTenant(t)
	app := n.rootApp(t, "root")
	emptied := `{"spec":{"roles":null,"roleAssignment":null,"scopes":null}}`
	attacks := func(t *testing.T) {
		t.Helper()
		refusedBy(t, n.client.Delete(t.Context(), app.DeepCopy()), keptPolicy, "cluster-admin", `"bind"`, "set spec.mode to Observe")
		refusedBy(t, n.client.DeleteAllOf(t.Context(), &v1alpha1.App{}, client.InNamespace(n.namespace)), keptPolicy, "cluster-admin")
		for name, patch := range map[string]string{
			"emptied":                       emptied,
			"emptied, observing":            `{"spec":{"mode":"Observe","roles":null}}`,
			"fewer grants":                  `{"spec":{"roles":[{"name":"root"}]}}`,
			"another place":                 `{"spec":{"scopes":{"list":[{"name":"here","namespaces":["` + n.namespace + `"]}]},"roles":[{"name":"root","grants":[{"clusterRole":"view"}]}]}}`,
			"rules for later":               `{"spec":{"mode":"Observe","roleAssignment":{"default":["root"]}}}`,
			"what the garbage collector is": `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"00000000-0000-4000-8000-000000000000"}]}}`,
		} {
			if err := n.client.Patch(t.Context(), app.DeepCopy(), mergePatch(patch)); err == nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "cluster-admin") {
				t.Errorf("%s: %v, want it refused", name, err)
			}
		}
	}
	t.Run("enforcing", attacks)
	enforced(t, app)
	must(t, n.client.Patch(t.Context(), app.DeepCopy(), mergePatch(`{"spec":{"mode":"Observe","tokens":null,"displayName":"Stopped"}}`)))
	t.Run("stopped", attacks)
	refusedBy(t, n.client.Patch(t.Context(), app.DeepCopy(), mergePatch(emptied)), keptPolicy, "cluster-admin")
	if err := n.client.Status().Patch(t.Context(), app.DeepCopy(), mergePatch(`{"status":{"enforced":false}}`)); !apierrors.IsForbidden(err) {
		t.Errorf("the status is written by the tenant: %v", err)
	}

	t.Run("with the right", func(t *testing.T) {
		other := n.newApp("own")
		must(t, n.client.Create(t.Context(), other))
		enforced(t, other)
		must(t, n.client.Patch(t.Context(), other.DeepCopy(), mergePatch(`{"spec":{"roles":null}}`)))
		must(t, n.client.Delete(t.Context(), other))
		must(t, n.admin.Delete(t.Context(), app.DeepCopy()))
	})
	t.Run("a draft that never granted", func(t *testing.T) {
		draft := n.newApp("draft")
		draft.Spec.Mode = v1alpha1.ModeObserve
		draft.Spec.Roles[0].Grants[0].ClusterRole = "cluster-admin"
		must(t, n.client.Create(t.Context(), draft))
		must(t, n.client.Patch(t.Context(), draft.DeepCopy(), mergePatch(emptied)))
		must(t, n.client.Delete(t.Context(), draft))
	})
	t.Run("before a controller has looked", func(t *testing.T) {
		must(t, operator.Controller.Stop())
		unseen := n.rootApp(t, "unseen")
		refusedBy(t, n.client.Patch(t.Context(), unseen.DeepCopy(), mergePatch(`{"spec":{"mode":"Observe"}}`)), keptPolicy, "cluster-admin")
		var err error
		operator.Controller, err = operator.RunController(t.Context())
		must(t, err)
		enforced(t, unseen)
		must(t, n.client.Patch(t.Context(), unseen.DeepCopy(), mergePatch(`{"spec":{"mode":"Observe"}}`)))
		must(t, n.admin.Delete(t.Context(), unseen))
	})
	n.reachesNothing(t)
}

// A namespace ends with its Apps, and the garbage collector deletes for an owner that an author with the right has set.
func TestKeptAppEndsWithItsNamespaceAndOwner(t *testing.T) {
	n := newTenant(t)
	owner := configMap(n.namespace, "owner")
	must(t, n.admin.Create(t.Context(), owner))
	app := n.newApp("owned")
	app.Spec.Roles[0].Grants[0].ClusterRole = "cluster-admin"
	app.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}
	must(t, n.admin.Create(t.Context(), app))
	enforced(t, app)
	must(t, n.admin.Delete(t.Context(), owner))
	gone := func(app *v1alpha1.App) {
		harness.Eventually(t, patience, "the end of App "+app.Name, func(ctx context.Context) error {
			if err := n.admin.Get(ctx, client.ObjectKeyFromObject(app), &v1alpha1.App{}); !apierrors.IsNotFound(err) {
				return errors.Join(errors.New("it is there"), err)
			}
			return nil
		})
	}
	gone(app)
	rest := n.rootApp(t, "rest")
	enforced(t, rest)
	must(t, n.admin.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.namespace}}))
	gone(rest)
}

// A tool that sends differences widens an App without having seen its tokens: an Event names those that were there, with what they open
// now.
func TestWidenedAppNamesTheTokensThatWereThere(t *testing.T) {
	n := newTenant(t)
	mine, text := n.newToken(t, "grown", "mine")
	app := n.newApp("grown")
	app.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(mine)}
	must(t, n.client.Create(t.Context(), app))
	must(t, n.client.Create(t.Context(), mine))
	n.answersSoon(t, text, http.StatusOK)
	must(t, n.admin.Patch(t.Context(), app.DeepCopy(), mergePatch(`{"spec":{"roles":[{"name":"viewer","grants":[{"clusterRole":"view"},{"clusterRole":"edit"}]}]}}`)))
	harness.Eventually(t, patience, "an Event about the token", func(ctx context.Context) error {
		var list eventsv1.EventList
		if err := n.admin.List(ctx, &list, client.InNamespace(n.namespace)); err != nil {
			return err
		}
		var notes []string
		for i := range list.Items {
			if list.Items[i].Reason == "GrantsWidened" {
				notes = append(notes, list.Items[i].Note)
			}
		}
		if len(notes) != 1 || !strings.Contains(notes[0], "ClusterRole edit in namespace "+n.namespace) || strings.Contains(notes[0], "ClusterRole view") ||
			!strings.HasSuffix(notes[0], "They are mine.") {
			return fmt.Errorf("the notes are %q", notes)
		}
		return nil
	})
}
