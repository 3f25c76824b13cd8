package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
)

const (
	// soundFor and unsoundFor are how long an answer about all grants of an App is believed: rights are told by no watch, and
	// neither are namespaced roles. An edit of the App, and a ClusterRole or namespace that comes or goes, end it at once.
	soundFor   = 5 * time.Minute
	unsoundFor = 10 * time.Second
	// rolesFor is how long a list of the namespaced roles of one name is believed.
	rolesFor = 10 * time.Second
	// namespacedFor takes the place of soundFor where an App grants namespaced roles.
	namespacedFor = 30 * time.Second
	// maxUnbindable bounds what is found before the rest of an App's grants is left for later: each costs questions.
	maxUnbindable = 10
	// namespacesShown of those where a role is missing.
	namespacesShown = 3
)

// grantsState is what an answer about the grants of an App was found for.
type grantsState struct {
	app     types.UID
	state   access.State
	changes int64
}

type grantsAnswer struct {
	grantsState
	until    time.Time
	problems []grantProblem
}

// grantProblem is one native role that an App cannot grant as it says.
type grantProblem struct{ reason, message string }

// grantChecks remembers, for each App, whether it can grant what it says. The zero value is ready to use.
type grantChecks struct {
	mutex   sync.Mutex
	answers map[types.NamespacedName]grantsAnswer
	// changes counts namespaces that came, went or got other labels.
	changes int64
	// roles are the namespaces that have a Role of that name.
	roles map[string]rolesOfName
}

type rolesOfName struct {
	until      time.Time
	namespaces map[string]bool
}

// stateOf returns what an answer that is found from now on is true for. It must be asked before anything is looked at.
func (c *grantChecks) stateOf(app *v1alpha1.App, state access.State) grantsState {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return grantsState{app: app.UID, state: state, changes: c.changes}
}

func (c *grantChecks) known(name types.NamespacedName, state grantsState) (grantsAnswer, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	answer, found := c.answers[name]
	return answer, found && answer.grantsState == state && time.Now().Before(answer.until)
}

func (c *grantChecks) keep(name types.NamespacedName, answer grantsAnswer) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.answers == nil {
		c.answers = map[types.NamespacedName]grantsAnswer{}
	}
	c.answers[name] = answer
}

func (c *grantChecks) forget(name types.NamespacedName) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.answers, name)
}

// changed ends all answers.
func (c *grantChecks) changed() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.changes++
}

// checkGrants says what an App cannot grant, sorted, and when to look again. The answer is remembered.
func (r *Reconciler) checkGrants(ctx context.Context, app *v1alpha1.App, policy *access.Policy, existing map[string]labels.Set) ([]grantProblem, time.Duration, error) {
	name, state := client.ObjectKeyFromObject(app), r.grants.stateOf(app, r.Policies.StateOf(app))
	if answer, known := r.grants.known(name, state); known {
		return answer.problems, time.Until(answer.until), nil
	}
	var problems []grantProblem
	rest := soundFor
	places := placesOf(policy, existing)
	for _, ref := range slices.SortedFunc(maps.Keys(places), compareRefs) {
		if ref.Kind == kindRole {
			rest = namespacedFor
		}
		problem, err := r.checkGrant(ctx, ref, places[ref])
		if err != nil {
			return nil, 0, err
		}
		if problem == nil {
			continue
		}
		if problems = append(problems, *problem); len(problems) == maxUnbindable {
			break
		}
	}
	if len(problems) > 0 {
		rest = unsoundFor
	}
	r.grants.keep(name, grantsAnswer{grantsState: state, until: time.Now().Add(rest), problems: problems})
	return problems, rest, nil
}

const (
	kindRole        = "Role"
	kindClusterRole = "ClusterRole"
)

func compareRefs(a, b rbacv1.RoleRef) int {
	return strings.Compare(a.Kind+"/"+a.Name, b.Kind+"/"+b.Name)
}

// places are where an App grants one native role.
type places struct {
	everywhere bool
	namespaces map[string]bool
	// role is the App's role that grants it first, for messages.
	role string
}

// placesOf returns where an App grants each native role, in namespaces that exist.
func placesOf(policy *access.Policy, existing map[string]labels.Set) map[rbacv1.RoleRef]*places {
	byScope := map[string][]string{}
	for _, scope := range policy.Scopes() {
		byScope[scope.Name] = slices.Collect(namespacesOf(scope, existing))
	}
	granted := map[rbacv1.RoleRef]*places{}
	seen := map[rbacv1.RoleRef]map[string]bool{}
	policy.EachGrant(func(role string, grant v1alpha1.Grant, scope *access.Scope) {
		ref := grant.RoleRef()
		if granted[ref] == nil {
			granted[ref], seen[ref] = &places{namespaces: map[string]bool{}, role: role}, map[string]bool{}
		}
		if seen[ref][scope.Name] {
			return
		}
		seen[ref][scope.Name] = true
		granted[ref].everywhere = granted[ref].everywhere || scope.ClusterWide
		for _, namespace := range byScope[scope.Name] {
			granted[ref].namespaces[namespace] = true
		}
	})
	return granted
}

// checkGrant says what keeps a native role from being granted: it does not exist, or the controller may not bind it.
func (r *Reconciler) checkGrant(ctx context.Context, ref rbacv1.RoleRef, where *places) (*grantProblem, error) {
	missing, place, err := r.isMissing(ctx, ref, where)
	if err != nil {
		return nil, err
	}
	if missing {
		return &grantProblem{v1alpha1.ReasonRoleNotFound, fmt.Sprintf(
			"%s %q, which role %q grants, does not exist%s: create it, or grant another one", ref.Kind, ref.Name, where.role, place)}, nil
	}
	asked := slices.Sorted(maps.Keys(where.namespaces))
	if where.everywhere {
		asked = []string{""}
	}
	for _, namespace := range asked {
		allowed, err := r.MayBind(ctx, namespace, ref)
		if err != nil {
			return nil, err
		}
		if !allowed {
			place := "the cluster"
			if namespace != "" {
				place = "namespace " + namespace
			}
			return &grantProblem{v1alpha1.ReasonForbidden, fmt.Sprintf(
				"the controller was not given the verb bind on %s %q in %s, which role %q grants: name it in a ClusterRole like scim-operator-bindable, or grant another one",
				ref.Kind, ref.Name, place, where.role)}, nil
		}
	}
	return nil, nil
}

// isMissing says whether a native role is missing in one of its places, and tells of those that lack a namespaced one.
func (r *Reconciler) isMissing(ctx context.Context, ref rbacv1.RoleRef, where *places) (missing bool, place string, err error) {
	if ref.Kind == kindClusterRole {
		exists, err := ClusterRoleExists(ctx, r.Client, ref.Name)
		return !exists && err == nil, "", err
	}
	having, err := r.namespacesWithRole(ctx, ref.Name)
	if err != nil {
		return false, "", err
	}
	var lacking []string
	for _, namespace := range slices.Sorted(maps.Keys(where.namespaces)) {
		if !having[namespace] {
			lacking = append(lacking, namespace)
		}
	}
	switch {
	case len(lacking) == 0:
		return false, "", nil
	case len(lacking) > namespacesShown:
		return true, fmt.Sprintf(" in %d of %d namespaces, among them %s", len(lacking), len(where.namespaces), strings.Join(lacking[:namespacesShown], ", ")), nil
	}
	return true, " in namespace " + strings.Join(lacking, ", "), nil
}

// namespacesWithRole returns where a Role of that name exists. Roles are not watched: a cluster can have tens of thousands, and
// few Apps grant any. One list of the metadata of those of one name is asked for instead, at most once in rolesFor.
func (r *Reconciler) namespacesWithRole(ctx context.Context, name string) (map[string]bool, error) {
	now := time.Now()
	r.grants.mutex.Lock()
	known, found := r.grants.roles[name]
	r.grants.mutex.Unlock()
	if found && now.Before(known.until) {
		return known.namespaces, nil
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind("RoleList"))
	if err := r.Live.List(ctx, list, client.MatchingFields{metav1.ObjectNameField: name}); err != nil {
		return nil, fmt.Errorf("list the Roles named %s: %w", name, err)
	}
	fresh := rolesOfName{until: now.Add(rolesFor), namespaces: make(map[string]bool, len(list.Items))}
	for i := range list.Items {
		fresh.namespaces[list.Items[i].Namespace] = true
	}
	r.grants.mutex.Lock()
	defer r.grants.mutex.Unlock()
	if r.grants.roles == nil {
		r.grants.roles = map[string]rolesOfName{}
	}
	for other, old := range r.grants.roles {
		if now.After(old.until) {
			delete(r.grants.roles, other)
		}
	}
	r.grants.roles[name] = fresh
	return fresh.namespaces, nil
}

// ClusterRoleMetadata returns a ClusterRole as the manager's cache must hold it: that it exists is all that is asked.
func ClusterRoleMetadata() *metav1.PartialObjectMetadata {
	role := &metav1.PartialObjectMetadata{}
	role.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind(kindClusterRole))
	return role
}

// ClusterRoleExists says whether the manager's cache has a ClusterRole of a name. Its error is the cache's.
func ClusterRoleExists(ctx context.Context, cache client.Reader, name string) (bool, error) {
	err := cache.Get(ctx, client.ObjectKey{Name: name}, ClusterRoleMetadata(), client.UnsafeDisableDeepCopy)
	return err == nil, client.IgnoreNotFound(err)
}

// OnlyNames is the transform of ClusterRoles on their way into the cache. It returns no error.
func OnlyNames(object any) (any, error) {
	if role, isMetadata := object.(*metav1.PartialObjectMetadata); isMetadata {
		role.ObjectMeta = metav1.ObjectMeta{Name: role.Name, UID: role.UID, ResourceVersion: role.ResourceVersion}
	}
	return object, nil
}

// watchClusterRoles has the Apps looked at that grant a ClusterRole which comes or goes.
func (r *Reconciler) watchClusterRoles() handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request] {
	type object = *metav1.PartialObjectMetadata
	enqueue := func(ctx context.Context, role object, q queue) {
		r.enqueueApps(ctx, q, func(app *v1alpha1.App) bool {
			if !slices.ContainsFunc(app.Spec.Roles, func(own v1alpha1.Role) bool { return GrantsClusterRole(app, own.Name, role.Name) }) {
				return false
			}
			r.grants.forget(client.ObjectKeyFromObject(app))
			return true
		})
	}
	return handler.TypedFuncs[object, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[object], q queue) {
			if !e.IsInInitialList {
				enqueue(ctx, e.Object, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[object], q queue) { enqueue(ctx, e.Object, q) },
	}
}

// GrantsClusterRole says whether a role of an App grants a ClusterRole.
func GrantsClusterRole(app *v1alpha1.App, role, clusterRole string) bool {
	return slices.ContainsFunc(app.Spec.Roles, func(own v1alpha1.Role) bool {
		return own.Name == role && slices.ContainsFunc(own.Grants, func(grant v1alpha1.Grant) bool { return grant.ClusterRole == clusterRole })
	})
}
