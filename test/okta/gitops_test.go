package okta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// gitops is a tool that holds the cluster against manifests, as Flux and Argo CD do: server-side apply with a field manager of its own,
// a label on what it applied, a dry run that tells drift, and a prune of what has the label and is in the manifests no more.
type gitops struct {
	manager, label, value string
	manifests             map[string]*unstructured.Unstructured
}

var gitopsTools = map[string]struct{ manager, label string }{
	"Flux":    {"kustomize-controller", "kustomize.toolkit.fluxcd.io/name"},
	"Argo CD": {"argocd-controller", "app.kubernetes.io/instance"},
}

func (g *gitops) add(kind, namespace, name string, spec map[string]any) {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind,
		"metadata": map[string]any{"namespace": namespace, "name": name, "labels": map[string]any{g.label: g.value}},
		"spec":     spec,
	}}
	g.manifests[kind+"/"+name] = object
}

// sync does one round of the loop: it applies what a dry run shows to differ, and prunes. It returns what it did.
func (g *gitops) sync(ctx context.Context, namespace string) (done []string, err error) {
	c := operator.Env.Client
	for _, name := range slices.Sorted(maps.Keys(g.manifests)) {
		manifest := g.manifests[name]
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(manifest.GroupVersionKind())
		err := c.Get(ctx, client.ObjectKeyFromObject(manifest), live)
		if err == nil {
			tried := manifest.DeepCopy()
			if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(tried), client.FieldOwner(g.manager), client.ForceOwnership, client.DryRunAll); err != nil {
				return done, fmt.Errorf("dry run of %s: %w", name, err)
			}
			if apiequality.Semantic.DeepEqual(compared(live), compared(tried)) {
				continue
			}
		} else if !apierrors.IsNotFound(err) {
			return done, err
		}
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(manifest.DeepCopy()), client.FieldOwner(g.manager), client.ForceOwnership); err != nil {
			return done, fmt.Errorf("apply of %s: %w", name, err)
		}
		done = append(done, "applied "+name)
	}
	for _, kind := range []string{"ScimToken", "App"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: kind + "List"})
		if err := c.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{g.label: g.value}); err != nil {
			return done, err
		}
		for i := range list.Items {
			if name := kind + "/" + list.Items[i].GetName(); g.manifests[name] == nil {
				if err := c.Delete(ctx, &list.Items[i]); client.IgnoreNotFound(err) != nil {
					return done, err
				}
				done = append(done, "pruned "+name)
			}
		}
	}
	return done, nil
}

// compared is what the tools compare: no status, and of the metadata what a manifest can hold.
func compared(object *unstructured.Unstructured) map[string]any {
	return map[string]any{"spec": object.Object["spec"], "labels": object.GetLabels(), "annotations": object.GetAnnotations()}
}

// quiet fails the test where a round of the loop finds anything to do for a while.
func (g *gitops) quiet(t *testing.T, namespace, after string) {
	t.Helper()
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		done, err := g.sync(t.Context(), namespace)
		must(t, err)
		if len(done) > 0 {
			t.Fatalf("after %s: %s did %q", after, g.manager, done)
		}
	}
}

func asMap(t *testing.T, value any) map[string]any {
	t.Helper()
	text, err := json.Marshal(value)
	must(t, err)
	var object map[string]any
	must(t, json.Unmarshal(text, &object))
	return object
}

// steadily sends requests with a token until end is called. Any answer but 200 is an outage.
func steadily(t *testing.T, app harness.App) (end func()) {
	t.Helper()
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var running sync.WaitGroup
	running.Go(func() {
		defer scim.Close()
		for answered := 0; answered < 20 || !stopped(); time.Sleep(10 * time.Millisecond) { // fewer would show nothing
			answer, err := scim.Do(t.Context(), http.MethodGet, "/Users?startIndex=1&count=1", nil)
			if err != nil || answer.Status != http.StatusOK {
				t.Errorf("an outage of the token: %+v, %v", answer, err)
				return
			}
			answered++
		}
	})
	return sync.OnceFunc(func() {
		close(stop)
		running.Wait()
	})
}

// Flux and Argo CD apply an App and its tokens again and again, put drift right, prune and apply again. Nothing that the operator writes
// is drift to them, and the token that stays in Git works all the time.
func TestAppliedPrunedAndAppliedAgain(t *testing.T) {
	for tool, as := range gitopsTools {
		t.Run(tool, func(t *testing.T) {
			operator.ShowOnFailure(t)
			namespace := operator.Env.Namespace(t, nil)
			app := harness.App{Namespace: namespace, Name: "applied", Prefix: namespace + ":"}
			g := &gitops{manager: as.manager, label: as.label, value: "team", manifests: map[string]*unstructured.Unstructured{}}
			var err error
			app.Token, err = token.New()
			must(t, err)
			other := app
			other.Token, err = token.New()
			must(t, err)
			both := []any{
				map[string]any{"name": "first", "digest": token.Digest(app.Token)},
				map[string]any{"name": "second", "digest": token.Digest(other.Token)},
			}
			spec := asMap(t, v1alpha1.AppSpec{
				Kubernetes: v1alpha1.KubernetesMapping{UsernamePrefix: &app.Prefix}, Limits: harness.Unlimited(),
				Roles:          []v1alpha1.Role{{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: "quickstart-viewer"}}}},
				RoleAssignment: v1alpha1.RoleAssignment{Default: []string{"viewer"}},
			})
			spec["tokens"] = both
			secondToken := map[string]any{"app": app.Name, "digest": token.Digest(other.Token)}
			g.add("App", namespace, app.Name, spec)
			g.add("ScimToken", namespace, "first", map[string]any{"app": app.Name, "digest": token.Digest(app.Token)})
			g.add("ScimToken", namespace, "second", secondToken)
			done, err := g.sync(t.Context(), namespace)
			must(t, err)
			if len(done) != 3 {
				t.Fatalf("the first round did %q", done)
			}
			operator.Opens(t, operator.Server, app)
			operator.Opens(t, operator.Server, other)
			end := steadily(t, app)
			defer end()

			// The operator works on these objects: finalizers, status, the time of the last use.
			scim := operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
			create(t, scim, fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"active":true}`, newName(t, "applied")))
			g.quiet(t, namespace, "users came")

			// Drift by hand is put right in one round, and stays so.
			object := &v1alpha1.App{}
			must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: app.Name}, object))
			before := object.DeepCopy()
			object.Spec.Tokens = object.Spec.Tokens[:1]
			object.Spec.RoleAssignment.Default = nil
			must(t, operator.Env.Client.Patch(t.Context(), object, client.MergeFrom(before), client.FieldOwner("kubectl-edit")))
			operator.Refuses(t, operator.Server, other, patience)
			done, err = g.sync(t.Context(), namespace)
			must(t, err)
			if !slices.Equal(done, []string{"applied App/applied"}) {
				t.Errorf("drift of the App: %q", done)
			}
			operator.Opens(t, operator.Server, other)
			g.quiet(t, namespace, "drift")

			// One token leaves Git: it is pruned, the other one works on. It comes back, and opens again.
			delete(g.manifests, "ScimToken/second")
			g.manifests["App/applied"].Object["spec"].(map[string]any)["tokens"] = both[:1]
			done, err = g.sync(t.Context(), namespace)
			must(t, err)
			if !slices.Equal(done, []string{"applied App/applied", "pruned ScimToken/second"}) {
				t.Errorf("a token left Git: %q", done)
			}
			operator.Refuses(t, operator.Server, other, patience)
			g.quiet(t, namespace, "a prune")
			g.add("ScimToken", namespace, "second", secondToken)
			g.manifests["App/applied"].Object["spec"].(map[string]any)["tokens"] = both
			_, err = g.sync(t.Context(), namespace)
			must(t, err)
			operator.Opens(t, operator.Server, other)
			g.quiet(t, namespace, "the token came back")
			end()

			// All of it leaves Git, by mistake, and is put back: users are where they were, and so is their access.
			manifests := g.manifests
			g.manifests = map[string]*unstructured.Unstructured{}
			_, err = g.sync(t.Context(), namespace)
			must(t, err)
			operator.Refuses(t, operator.Server, app, patience)
			g.manifests = manifests
			_, err = g.sync(t.Context(), namespace)
			must(t, err)
			operator.Opens(t, operator.Server, app)
			g.quiet(t, namespace, "all of it came back")
			answer, err := scim.Do(t.Context(), http.MethodGet, "/Users?startIndex=1&count=10", nil)
			must(t, err)
			if answer.Status != http.StatusOK || fmt.Sprint(answer.At("totalResults")) != "1" {
				t.Errorf("after the App came back: %d, %v users", answer.Status, answer.At("totalResults"))
			}
			for _, managed := range appOf(t, app).ManagedFields {
				if managed.Subresource == "" && managed.Manager != g.manager && managed.FieldsV1 != nil && ownsSpec(t, managed.FieldsV1.GetRawString()) {
					t.Errorf("%s owns fields of the App's spec: %s", managed.Manager, managed.FieldsV1.GetRawString())
				}
			}
		})
	}
}

func appOf(t *testing.T, app harness.App) *v1alpha1.App {
	t.Helper()
	object := &v1alpha1.App{}
	must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object))
	return object
}

func ownsSpec(t *testing.T, fields string) bool {
	t.Helper()
	var owned map[string]any
	must(t, json.Unmarshal([]byte(fields), &owned))
	_, owns := owned["f:spec"]
	return owns
}
