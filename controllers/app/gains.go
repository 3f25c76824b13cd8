package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
)

const (
	// reasonGrantsWidened is the reason of the Event about tokens that open more than before.
	reasonGrantsWidened = "GrantsWidened"
	// shownGrants bounds the grants that one Event names.
	shownGrants = 3
	// grantsNote bounds their text, in bytes: the tokens need room.
	grantsNote = 400
	// ofIssuer stands for all tokens of the issuer that spec.oidc names. It is the name of no ScimToken.
	ofIssuer = "those of spec.oidc"
	// ofClients stands for all tokens of the clients that spec.oauth has.
	ofClients = "those of spec.oauth"
)

// gains remembers which tokens of each App open more by edits that were not told of yet: a tool that sends differences widens an App
// without having seen its tokens. The zero value is ready to use, by any number of goroutines.
type gains struct {
	mutex sync.Mutex
	apps  map[types.NamespacedName]*gain
}

// gain is what tokens, by name, have gained.
type gain struct {
	tokens, grants map[string]bool
}

// note compares an App with what it was before an edit.
func (g *gains) note(before, after *v1alpha1.App) {
	if before.UID != after.UID || before.Generation == after.Generation || len(after.Spec.Tokens) == 0 && after.Spec.OIDC == nil && after.Spec.OAuth == nil {
		return
	}
	had, added := grantsOf(&before.Spec, before.Namespace), grantsOf(&after.Spec, after.Namespace)
	maps.DeleteFunc(added, func(grant string, _ bool) bool { return had[grant] })
	kept := map[string]bool{}
	for i := range after.Spec.Tokens {
		if slices.ContainsFunc(before.Spec.Tokens, func(was v1alpha1.AcceptedToken) bool {
			return was.Name == after.Spec.Tokens[i].Name && was.Digest == after.Spec.Tokens[i].Digest
		}) {
			kept[after.Spec.Tokens[i].Name] = true
		}
	}
	if after.Spec.OIDC != nil && before.Spec.OIDC != nil && after.Spec.OIDC.Issuer == before.Spec.OIDC.Issuer {
		kept[ofIssuer] = true
	}
	if keepsClient(before.Spec.OAuth, after.Spec.OAuth) {
		kept[ofClients] = true
	}
	if len(added) == 0 || len(kept) == 0 {
		return
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.apps == nil {
		g.apps = map[types.NamespacedName]*gain{}
	}
	name := client.ObjectKeyFromObject(after)
	if known := g.apps[name]; known != nil {
		maps.Copy(known.tokens, kept)
		maps.Copy(known.grants, added)
		return
	}
	g.apps[name] = &gain{tokens: kept, grants: added}
}

// keepsClient says whether an OAuth client that an App had is there still.
func keepsClient(before, after *v1alpha1.OAuth) bool {
	if before == nil || after == nil {
		return false
	}
	return before.ClientID != "" && before.ClientID == after.ClientID || slices.ContainsFunc(before.MachineClients, func(was v1alpha1.MachineClient) bool {
		is := after.Machine(was.ClientID)
		return is != nil && slices.ContainsFunc(was.Keys, func(key string) bool { return slices.Contains(is.Keys, key) })
	})
}

// take returns what tokens have gained that the App still accepts, of what it still grants, each sorted, and forgets it.
func (g *gains) take(app *v1alpha1.App) (tokens, grants []string) {
	name := client.ObjectKeyFromObject(app)
	g.mutex.Lock()
	known := g.apps[name]
	delete(g.apps, name)
	g.mutex.Unlock()
	if known == nil {
		return nil, nil
	}
	for i := range app.Spec.Tokens {
		if known.tokens[app.Spec.Tokens[i].Name] {
			tokens = append(tokens, app.Spec.Tokens[i].Name)
		}
	}
	if known.tokens[ofIssuer] && app.Spec.OIDC != nil {
		tokens = append(tokens, ofIssuer)
	}
	if known.tokens[ofClients] && app.Spec.OAuth != nil {
		tokens = append(tokens, ofClients)
	}
	granted := grantsOf(&app.Spec, app.Namespace)
	for grant := range known.grants {
		if granted[grant] {
			grants = append(grants, grant)
		}
	}
	slices.Sort(tokens)
	slices.Sort(grants)
	return tokens, grants
}

func (g *gains) forget(app types.NamespacedName) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	delete(g.apps, app)
}

// grantsOf describes each native role that an App grants, with the place where it does.
func grantsOf(spec *v1alpha1.AppSpec, namespace string) map[string]bool {
	grants := map[string]bool{}
	if spec.Mode == v1alpha1.ModeObserve {
		return grants
	}
	scopes := spec.Scopes.List
	if len(scopes) == 0 {
		scopes = []v1alpha1.Scope{{Namespaces: []string{namespace}}}
	}
	for i := range spec.Roles {
		for j := range scopes {
			if role := &spec.Roles[i]; len(role.Scopes) == 0 || slices.Contains(role.Scopes, scopes[j].Name) {
				addGrants(grants, role, &scopes[j])
			}
		}
	}
	return grants
}

func addGrants(grants map[string]bool, role *v1alpha1.Role, scope *v1alpha1.Scope) {
	places := make([]string, 0, len(scope.Namespaces))
	for _, name := range scope.Namespaces {
		places = append(places, "in namespace "+name)
	}
	switch {
	case scope.ClusterWide:
		places = []string{"in the whole cluster"}
	case scope.NamespaceSelector != nil:
		places = []string{"in namespaces with " + metav1.FormatLabelSelector(scope.NamespaceSelector)}
	}
	for _, grant := range role.Grants {
		what := "ClusterRole " + grant.ClusterRole
		if grant.Role != "" {
			what = "Role " + grant.Role
		}
		for _, place := range places {
			grants[what+" "+place] = true
		}
	}
}

// watchApps has an App looked at when its specification or an annotation changes, and notes what its tokens gain by that.
func (r *Reconciler) watchApps() handler.TypedEventHandler[*v1alpha1.App, reconcile.Request] {
	enqueue := handler.TypedEnqueueRequestForObject[*v1alpha1.App]{}
	return handler.TypedFuncs[*v1alpha1.App, reconcile.Request]{
		CreateFunc: enqueue.Create,
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*v1alpha1.App], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			r.gains.note(e.ObjectOld, e.ObjectNew)
			enqueue.Update(ctx, e, q)
		},
		DeleteFunc:  enqueue.Delete,
		GenericFunc: enqueue.Generic,
	}
}

// tellGains writes an Event that names the tokens that were listed before an edit by which they open more: the edit's author need not
// have seen them. Each has an action of its own, since Events that have action and reason in common are one to Kubernetes.
func (r *Reconciler) tellGains(app *v1alpha1.App) {
	tokens, grants := r.gains.take(app)
	if len(tokens) == 0 || len(grants) == 0 {
		return
	}
	what := strings.Join(grants[:min(len(grants), shownGrants)], ", ")
	if more := len(grants) - shownGrants; more > 0 {
		what += fmt.Sprintf(" and %d more", more)
	}
	r.Recorder.Eventf(app, nil, corev1.EventTypeNormal, reasonGrantsWidened, fmt.Sprintf("Generation%d", app.Generation), "%s", clip.Text(
		fmt.Sprintf("An edit has the App grant more: %s. Tokens that the App accepted before the edit open that, too: take away those that you "+
			"do not know. They are %s.", clip.Text(what, grantsNote), strings.Join(tokens, ", ")), clip.EventNote))
}
