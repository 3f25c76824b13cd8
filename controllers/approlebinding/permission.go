package approlebinding

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// allowedFor and deniedFor are how long an answer about a right is believed.
	allowedFor = 30 * time.Second
	deniedFor  = 2 * time.Second
	// allowedForRemovals is how long an answer that allows is believed by runs for removals, which add nothing. Where the right is gone
	// by then the API server refuses their write, and they delete the binding.
	allowedForRemovals = recheckEvery
	// recheckEvery is how often a key is run without an event, among other things to see that a right was taken away.
	recheckEvery = 10 * time.Minute
)

// permissions knows which roles this process was given the right to bind, by name.
//
// RBAC itself is not enough of a guard: it also lets a binder bind what they hold themselves, so that an App could hand
// on the controller's own rights. Only the verb bind on the role counts here.
type permissions struct {
	mutex sync.Mutex
	known map[permission]answer
}

type permission struct {
	namespace string // of the binding; "" for everywhere
	ref       rbacv1.RoleRef
}

type answer struct {
	allowed bool
	until   time.Time
}

// mayBind asks the API server, or remembers, whether this process may bind a role in a namespace, or, where that is "",
// in all of them.
func (p *permissions) mayBind(ctx context.Context, c client.Client, namespace string, ref rbacv1.RoleRef) (bool, error) {
	for _, asked := range asking(namespace, ref) {
		if allowed, err := p.ask(ctx, c, asked); err != nil || allowed {
			return allowed, err
		}
	}
	return false, nil
}

// mightBind is mayBind for a run that adds nothing: it believes for longer that a role may be bound, so that no removal waits for that
// question.
func (p *permissions) mightBind(ctx context.Context, c client.Client, namespace string, ref rbacv1.RoleRef) (bool, error) {
	for _, asked := range asking(namespace, ref) {
		if p.wasAllowed(asked) {
			return true, nil
		}
	}
	return p.mayBind(ctx, c, namespace, ref)
}

// asking returns what gives the right to bind a role in a namespace.
func asking(namespace string, ref rbacv1.RoleRef) []permission {
	here := permission{namespace: namespace, ref: ref}
	if namespace != "" && ref.Kind == "ClusterRole" {
		return []permission{{ref: ref}, here}
	}
	return []permission{here}
}

func (p *permissions) wasAllowed(asked permission) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	known := p.known[asked]
	return known.allowed && time.Since(known.until) < allowedForRemovals
}

func (p *permissions) ask(ctx context.Context, c client.Client, asked permission) (bool, error) {
	now := time.Now()
	p.mutex.Lock()
	known, found := p.known[asked]
	p.mutex.Unlock()
	if found && now.Before(known.until) {
		return known.allowed, nil
	}
	resource := "clusterroles"
	if asked.ref.Kind == "Role" {
		resource = "roles"
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "bind", Group: rbacv1.GroupName, Resource: resource, Name: asked.ref.Name, Namespace: asked.namespace,
		},
	}}
	if err := c.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask for the right to bind %s %q: %w", asked.ref.Kind, asked.ref.Name, err)
	}
	fresh := answer{allowed: review.Status.Allowed, until: now.Add(deniedFor)}
	if fresh.allowed {
		fresh.until = now.Add(allowedFor)
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.known == nil {
		p.known = map[permission]answer{}
	}
	for other, old := range p.known {
		if now.Sub(old.until) > allowedForRemovals {
			delete(p.known, other)
		}
	}
	p.known[asked] = fresh
	return fresh.allowed, nil
}

// refusal says which roles of an App this process has no right to bind.
type refusal struct {
	places map[rbacv1.RoleRef][]string
}

func (r *refusal) add(ref rbacv1.RoleRef, namespace string) {
	if r.places == nil {
		r.places = map[rbacv1.RoleRef][]string{}
	}
	r.places[ref] = append(r.places[ref], namespace)
}

// includes says whether a role was refused anywhere.
func (r *refusal) includes(ref rbacv1.RoleRef) bool { return len(r.places[ref]) > 0 }

// err returns nil where nothing was refused.
func (r *refusal) err() error {
	if len(r.places) == 0 {
		return nil
	}
	return r
}

func (r *refusal) Error() string {
	var roles []string
	for ref, namespaces := range r.places {
		where := "the cluster"
		slices.Sort(namespaces)
		if namespaces[0] != "" {
			where = "namespace " + strings.Join(first(slices.Compact(namespaces), 3), ", ")
		}
		roles = append(roles, fmt.Sprintf("%s %q in %s", ref.Kind, ref.Name, where))
	}
	slices.Sort(roles)
	return "The controller was not given the verb bind on " + strings.Join(roles, ", on ") +
		": name the role in a ClusterRole like scim-operator-bindable, or grant another one."
}
