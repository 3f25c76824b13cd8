package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/attributes"
	"github.com/scim-operator/scim-operator/internal/names"
)

// FieldError says what is wrong with one field of an App.
type FieldError struct {
	// Field is its path, such as spec.roles[2].when.
	Field string
	// Reason is for the author of the App.
	Reason string
}

func (e FieldError) Error() string { return e.Field + ": " + e.Reason }

// Message joins field errors into one text of bounded length, for a condition.
func Message(errors []FieldError) string {
	const shown = 5
	texts := make([]string, 0, shown+1)
	for i, err := range errors {
		if i == shown {
			texts = append(texts, fmt.Sprintf("and %d more", len(errors)-shown))
			break
		}
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

// Compile checks an App and makes the policy of it. A policy is returned only where there is no error: an App that is
// partly wrong grants nothing new, because what its author meant is not known. No selector of the policy takes in a
// namespace of protected unless the App names it.
func Compile(app *v1alpha1.App, protected ...string) (*Policy, []FieldError) {
	c := compiler{app: app, protected: protected, policy: &Policy{
		mode:            app.Spec.Mode,
		fromAttributes:  app.Spec.RoleAssignment.FromAttributes,
		defaults:        app.Spec.RoleAssignment.Default,
		scopesAttribute: app.Spec.Scopes.FromAttribute,
		roleByName:      map[string]*role{},
		scopeByName:     map[string]*Scope{},
	}}
	if c.policy.mode == "" {
		c.policy.mode = v1alpha1.ModeEnforce
	}
	if app.Spec.SubjectMode == v1alpha1.SubjectModeGroup {
		c.policy.subjectsAreGroups, c.policy.groupPrefix = true, app.Spec.Kubernetes.PrefixOfGroups()
	}
	c.checkSafety()
	c.checkPrefixes()
	c.checkAttributes()
	c.compileScopes()
	c.compileRoles()
	c.checkDefaults()
	if len(c.errors) > 0 {
		return nil, c.errors
	}
	return c.policy, nil
}

type compiler struct {
	app       *v1alpha1.App
	protected []string
	policy    *Policy
	errors    []FieldError
}

func (c *compiler) fail(field, format string, args ...any) {
	c.errors = append(c.errors, FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

func (c *compiler) checkSafety() {
	safety := c.app.Spec.Safety
	if safety == nil {
		return
	}
	if safety.MaxRemovals < 1 {
		c.fail("spec.safety.maxRemovals", "must be at least 1")
	}
	if safety.Window != nil && safety.Window.Duration <= 0 {
		c.fail("spec.safety.window", "must be more than 0s")
	}
}

func (c *compiler) checkPrefixes() {
	if names.IsReserved(c.app.Spec.Kubernetes.Prefix()) {
		c.fail("spec.kubernetes.usernamePrefix", "must not begin with %s", names.ReservedPrefix)
	}
	if prefix := c.app.Spec.Kubernetes.GroupPrefix; prefix != nil && names.IsReserved(*prefix) {
		c.fail("spec.kubernetes.groupPrefix", "must not begin with %s", names.ReservedPrefix)
	}
}

func (c *compiler) checkAttributes() {
	for _, refused := range attributes.CheckDeclared(c.app.Spec.Attributes) {
		c.fail(fmt.Sprintf("spec.attributes[%d]", refused.Index), "%q: %s", c.app.Spec.Attributes[refused.Index].Name, refused.Reason)
	}
}

func (c *compiler) compileScopes() {
	list := c.app.Spec.Scopes.List
	// Every user would be without it, and hold every scope.
	switch name := c.app.Spec.Scopes.FromAttribute; {
	case name == "":
	case !attributes.IsKnown(c.app.Spec.Attributes, name):
		c.fail("spec.scopes.fromAttribute", "no attribute %q is declared in spec.attributes, nor has RFC 7643 one that can name scopes: without it users hold every scope", name)
	case c.isDropped(name):
		c.fail("spec.scopes.fromAttribute", "spec.provisioning.dropAttributes leaves out %q: without it users hold every scope", name)
	}
	if len(list) == 0 {
		c.policy.scopes = []Scope{{Name: v1alpha1.DefaultScope, Namespaces: []string{c.app.Namespace}}}
	}
	for i := range list {
		field := fmt.Sprintf("spec.scopes.list[%d]", i)
		scope := Scope{Name: list[i].Name, Namespaces: list[i].Namespaces, ClusterWide: list[i].ClusterWide}
		chosen := 0
		if len(scope.Namespaces) > 0 {
			chosen++
		}
		if scope.ClusterWide {
			chosen++
		}
		if list[i].NamespaceSelector != nil {
			chosen++
			if err := c.compileSelector(&scope, list[i].NamespaceSelector); err != nil {
				c.fail(field+".namespaceSelector", "%v", err)
			}
		}
		if chosen != 1 {
			c.fail(field, "exactly one of namespaces, namespaceSelector and clusterWide must be set")
		}
		c.policy.scopes = append(c.policy.scopes, scope)
	}
	for i := range c.policy.scopes {
		scope := &c.policy.scopes[i]
		if c.policy.scopeByName[scope.Name] != nil {
			c.fail(fmt.Sprintf("spec.scopes.list[%d].name", i), "another scope is called %q", scope.Name)
		}
		c.policy.scopeByName[scope.Name] = scope
	}
}

// isDropped says whether an attribute, which may be named with its schema, is not stored.
func (c *compiler) isDropped(name string) bool {
	name = name[strings.LastIndexByte(name, ':')+1:]
	return slices.ContainsFunc(c.app.Spec.Provisioning.DropAttributes, func(dropped string) bool { return strings.EqualFold(dropped, name) })
}

// compileSelector sets the selector of a scope. A protected namespace has to be named, by the label that the API server gives
// each namespace: a selector that is too wide must not hand out what runs the cluster.
func (c *compiler) compileSelector(scope *Scope, spec *metav1.LabelSelector) error {
	written, err := metav1.LabelSelectorAsSelector(spec)
	if err != nil {
		return err
	}
	scope.written, scope.Selector = written, written
	for _, name := range c.protected {
		if !namesNamespace(spec, name) {
			scope.protected = append(scope.protected, name)
		}
	}
	if len(scope.protected) > 0 {
		others, err := labels.NewRequirement(corev1.LabelMetadataName, selection.NotIn, scope.protected)
		if err != nil {
			return err
		}
		scope.Selector = written.Add(*others)
	}
	return nil
}

// namesNamespace says whether a selector asks for a namespace by its name.
func namesNamespace(spec *metav1.LabelSelector, namespace string) bool {
	return spec.MatchLabels[corev1.LabelMetadataName] == namespace ||
		slices.ContainsFunc(spec.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
			return r.Key == corev1.LabelMetadataName && r.Operator == metav1.LabelSelectorOpIn && slices.Contains(r.Values, namespace)
		})
}

func (c *compiler) compileRoles() {
	c.policy.roles = make([]role, len(c.app.Spec.Roles))
	for i := range c.app.Spec.Roles {
		spec := &c.app.Spec.Roles[i]
		field := fmt.Sprintf("spec.roles[%d]", i)
		compiled := &c.policy.roles[i]
		*compiled = role{name: spec.Name, grants: spec.Grants, groups: groupNames(spec.Groups)}
		if c.policy.roleByName[spec.Name] != nil {
			c.fail(field+".name", "another role is called %q", spec.Name)
		}
		c.policy.roleByName[spec.Name] = compiled
		for j, name := range spec.Scopes {
			if c.policy.scopeByName[name] == nil {
				c.fail(fmt.Sprintf("%s.scopes[%d]", field, j), "%q is no scope of the App", name)
			}
			if compiled.scopes == nil {
				compiled.scopes = map[string]bool{}
			}
			compiled.scopes[name] = true
		}
		if spec.When != "" {
			when, err := compileExpression(spec.When)
			if err != nil {
				c.fail(field+".when", "%v", err)
			}
			compiled.when, c.policy.hasExpressions = when, true
		}
		compiled.end = c.compileEnd(field, spec)
		c.checkGrants(field, spec, compiled)
	}
}

// compileEnd returns when a role ends. The attribute that says so must be declared as a time: the server refuses other values of
// it then, and of one that is not declared every user would be without it.
func (c *compiler) compileEnd(field string, spec *v1alpha1.Role) end {
	compiled := end{attribute: spec.UntilAttribute, optional: spec.UntilOptional}
	if spec.Until != nil {
		compiled.until = inSeconds(spec.Until.Time)
	}
	switch {
	case spec.UntilAttribute == "" && spec.UntilOptional:
		c.fail(field+".untilOptional", "says what an absent untilAttribute means: set that, too")
	case spec.UntilAttribute != "" && !attributes.IsDeclaredTime(c.app.Spec.Attributes, spec.UntilAttribute):
		c.fail(field+".untilAttribute", "no attribute %q is declared in spec.attributes with type dateTime and one value", spec.UntilAttribute)
	case spec.UntilAttribute != "" && c.isDropped(spec.UntilAttribute):
		c.fail(field+".untilAttribute", "spec.provisioning.dropAttributes leaves out %q: no end of the role would be known", spec.UntilAttribute)
	}
	return compiled
}

func (c *compiler) checkGrants(field string, spec *v1alpha1.Role, compiled *role) {
	for j, grant := range spec.Grants {
		at := fmt.Sprintf("%s.grants[%d]", field, j)
		if (grant.ClusterRole == "") == (grant.Role == "") {
			c.fail(at, "exactly one of clusterRole and role must be set")
			continue
		}
		if grant.Role == "" {
			continue
		}
		for k := range c.policy.scopes {
			scope := &c.policy.scopes[k]
			if scope.ClusterWide && compiled.holdsIn(scope.Name) {
				c.fail(at+".role", "a namespaced role cannot be bound in scope %q, which is the whole cluster", scope.Name)
			}
		}
	}
}

func (c *compiler) checkDefaults() {
	for i, name := range c.policy.defaults {
		if c.policy.roleByName[name] == nil {
			c.fail(fmt.Sprintf("spec.roleAssignment.default[%d]", i), "%q is no role of the App", name)
		}
	}
}

// Cache keeps the policy of each App until the App's specification changes. The zero value is ready to use.
type Cache struct {
	// Protected namespaces are in no scope by a selector that does not name them. It must not be changed once the Cache is used.
	Protected []string

	mutex    sync.Mutex
	compiled map[types.UID]*cached
}

// cached is one state of one App. compile sets the fields after it, once; the Cache's mutex guards generation.
type cached struct {
	generation int64
	state      State
	superseded context.Context //nolint:containedctx // it is the entry's life, not a call's
	end        context.CancelFunc

	compile sync.Once
	done    atomic.Bool
	policy  *Policy
	errors  []FieldError
}

// Compile is the function Compile, remembered by the App's UID and state. Only callers with the same App wait for it. An App
// with a part that cannot be read grants nothing new, whatever the rest says.
func (c *Cache) Compile(app *v1alpha1.App) (*Policy, []FieldError) {
	if unreadable := app.Annotations[v1alpha1.AnnotationUnreadable]; unreadable != "" {
		return nil, []FieldError{{Field: "spec", Reason: unreadable}}
	}
	entry := c.entry(app)
	entry.compile.Do(func() {
		// Callers may hold an object of the informers' store: the policy must not share its slices with it.
		if entry.policy, entry.errors = Compile(app.DeepCopy(), c.Protected...); entry.policy != nil {
			entry.policy.superseded = entry.superseded
		}
		entry.done.Store(true)
	})
	return entry.policy, entry.errors
}

// IsCompiled says whether Compile would return at once.
func (c *Cache) IsCompiled(app *v1alpha1.App) bool { return c.entry(app).done.Load() }

func (c *Cache) entry(app *v1alpha1.App) *cached {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	known := c.compiled[app.UID]
	if known != nil && known.generation == app.Generation {
		return known
	}
	state := StateOf(app)
	if known != nil && known.state == state && known.superseded.Err() == nil {
		known.generation = app.Generation
		return known
	}
	fresh := &cached{generation: app.Generation, state: state}
	fresh.superseded, fresh.end = context.WithCancel(context.Background())
	if known != nil {
		known.end()
	}
	if c.compiled == nil {
		c.compiled = map[types.UID]*cached{}
	}
	c.compiled[app.UID] = fresh
	return fresh
}

// StateOf is the function StateOf, remembered by the App's UID and generation.
func (c *Cache) StateOf(app *v1alpha1.App) State { return c.entry(app).state }

// Supersede stops evaluations by policies of earlier states of an App, and by any of one that is being deleted.
func (c *Cache) Supersede(app *v1alpha1.App) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	known := c.compiled[app.UID]
	if known != nil && (!app.DeletionTimestamp.IsZero() || known.generation < app.Generation && known.state != StateOf(app)) {
		known.end()
	}
}

// Forget drops the policy of an App that is gone, and stops evaluations by it.
func (c *Cache) Forget(uid types.UID) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if known := c.compiled[uid]; known != nil {
		known.end()
		delete(c.compiled, uid)
	}
}
