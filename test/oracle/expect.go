package oracle

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Expression is what a CEL expression of an App means, written in Go: user is the person, groups are the display names of
// the groups that they are in.
type Expression func(user *v1alpha1.UserSpec, groups []string) bool

// Access is one native role that a subject has in one namespace, or, with Namespace empty, in the whole cluster.
type Access struct {
	Namespace string
	// Role is a kind and a name: ClusterRole/view.
	Role string
	// Subject is a kind and a name: User/okta:jane@example.com.
	Subject string
}

func (a Access) String() string {
	if a.Namespace == "" {
		return fmt.Sprintf("%s has %s in the whole cluster", a.Subject, a.Role)
	}
	return fmt.Sprintf("%s has %s in namespace %s", a.Subject, a.Role, a.Namespace)
}

// Holding is one role of an App that a user holds in one scope.
type Holding struct {
	Directory, App, Role, Scope string
	// User is the name of the User object, Subject the RBAC user name that stands for them. Group is the Kubernetes group
	// that is bound in their place; empty: none.
	User, Subject, Group string
}

func (h Holding) String() string {
	by := ""
	if h.Group != "" {
		by = ", bound as group " + h.Group
	}
	return fmt.Sprintf("user %s (%s) holds role %q of App %s/%s in scope %q%s", h.User, h.Subject, h.Role, h.Directory, h.App, h.Scope, by)
}

// Expected is what should be.
type Expected struct {
	Access map[Access]bool
	// Holdings are what AppRoleBindings show, also of an App that only observes.
	Holdings map[Holding]bool
}

// Expect computes what should be. It fails on an App with an expression that it was not told the meaning of, and on one
// that is not Ready: what a wrong App grants follows from its past and not from the objects.
func (c *Cluster) Expect(expressions map[string]Expression) (*Expected, error) {
	expected := &Expected{Access: map[Access]bool{}, Holdings: map[Holding]bool{}}
	for i := range c.Apps {
		app := &c.Apps[i]
		if !app.DeletionTimestamp.IsZero() {
			continue
		}
		for j := range app.Spec.Roles {
			if when := app.Spec.Roles[j].When; when != "" && expressions[when] == nil {
				return nil, fmt.Errorf("the test does not say what %q means, in App %s/%s", when, app.Namespace, app.Name)
			}
		}
		for _, condition := range app.Status.Conditions {
			if condition.Type == v1alpha1.ConditionReady && condition.Status != metav1.ConditionTrue && condition.ObservedGeneration == app.Generation {
				return nil, fmt.Errorf("not Ready: App %s/%s: %s", app.Namespace, app.Name, condition.Message)
			}
		}
		for j := range c.Users {
			if user := &c.Users[j]; user.Namespace == app.Namespace && user.Spec.App == app.Name && c.mayHaveAccess(user) {
				c.expectOf(app, user, expressions, expected)
			}
		}
	}
	return expected, nil
}

// mayHaveAccess says whether a person is active, not suspended, not being deleted, and owns their name.
func (c *Cluster) mayHaveAccess(user *v1alpha1.User) bool {
	return user.Spec.Active && !user.Spec.Suspended && user.DeletionTimestamp.IsZero() &&
		c.isClaimed(user.Namespace, user.Spec.App, v1alpha1.ClaimUserName, user.Spec.UserNameKey, user.Name)
}

// ownsSubject says whether the Kubernetes name of a user is no other user's: it is claimed where it is not made of the userName.
func (c *Cluster) ownsSubject(app *v1alpha1.App, user *v1alpha1.User, subject string) bool {
	value := strings.TrimPrefix(subject, prefixOf(app))
	switch from := app.Spec.Kubernetes.UsernameFrom; from {
	case "email":
		return c.isClaimed(user.Namespace, app.Name, from, fold(value), user.Name)
	case "externalId":
		return c.isClaimed(user.Namespace, app.Name, from, value, user.Name)
	}
	return true
}

func (c *Cluster) isClaimed(directory, app, attribute, value, holder string) bool {
	return slices.ContainsFunc(c.Claims, func(claim v1alpha1.NameClaim) bool {
		return claim.Namespace == directory && claim.Spec == v1alpha1.NameClaimSpec{
			App: app, Attribute: attribute, Value: value, Holder: holder, Touches: claim.Spec.Touches,
		}
	})
}

// expectOf adds what one person should have.
func (c *Cluster) expectOf(app *v1alpha1.App, user *v1alpha1.User, expressions map[string]Expression, expected *Expected) {
	subject := subjectOf(app, &user.Spec)
	if subject == "" || strings.HasPrefix(subject, "system:") || !c.ownsSubject(app, user, subject) {
		return
	}
	chosen := c.scopesOf(app, &user.Spec)
	for _, held := range c.rolesOf(app, user, expressions) {
		for _, scope := range chosen {
			if len(held.role.Scopes) > 0 && !slices.Contains(held.role.Scopes, scope.Name) {
				continue
			}
			expected.Holdings[Holding{
				Directory: app.Namespace, App: app.Name, Role: held.role.Name, Scope: scope.Name,
				User: user.Name, Subject: subject, Group: held.group,
			}] = true
			bound := "User/" + subject
			if held.group != "" {
				bound = "Group/" + held.group
			}
			for _, grant := range held.role.Grants {
				if app.Spec.Mode != v1alpha1.ModeObserve {
					c.expectGrant(scope, grant, bound, expected)
				}
			}
		}
	}
}

func (c *Cluster) expectGrant(scope v1alpha1.Scope, grant v1alpha1.Grant, subject string, expected *Expected) {
	role := "ClusterRole/" + grant.ClusterRole
	if grant.ClusterRole == "" {
		role = "Role/" + grant.Role
	}
	if scope.ClusterWide {
		if grant.ClusterRole != "" {
			expected.Access[Access{Role: role, Subject: subject}] = true
		}
		return
	}
	for _, namespace := range c.namespacesOf(scope) {
		expected.Access[Access{Namespace: namespace, Role: role, Subject: subject}] = true
	}
}

// Subject returns the RBAC user name that stands for a person, "" where there is none.
func (c *Cluster) Subject(user *v1alpha1.User) string {
	for i := range c.Apps {
		if app := &c.Apps[i]; app.Namespace == user.Namespace && app.Name == user.Spec.App {
			return subjectOf(app, &user.Spec)
		}
	}
	return ""
}

// subjectOf is the prefix and the chosen attribute in its exact case; "" where the person has no such attribute.
func subjectOf(app *v1alpha1.App, user *v1alpha1.UserSpec) string {
	name := user.UserName
	switch app.Spec.Kubernetes.UsernameFrom {
	case "externalId":
		name = user.ExternalID
	case "email":
		name = ""
		for i, email := range user.Emails {
			if i == 0 || email.Primary {
				name = email.Value
			}
		}
	}
	if name == "" {
		return ""
	}
	return prefixOf(app) + name
}

func prefixOf(app *v1alpha1.App) string {
	if app.Spec.Kubernetes.UsernamePrefix != nil {
		return *app.Spec.Kubernetes.UsernamePrefix
	}
	return "okta:"
}

// scopesOf lists the scopes that a person holds: those that the attribute names, or all.
func (c *Cluster) scopesOf(app *v1alpha1.App, user *v1alpha1.UserSpec) []v1alpha1.Scope {
	all := app.Spec.Scopes.List
	if len(all) == 0 {
		all = []v1alpha1.Scope{{Name: "default", Namespaces: []string{app.Namespace}}}
	}
	if app.Spec.Scopes.FromAttribute == "" {
		return all
	}
	named := names(user, app.Spec.Scopes.FromAttribute)
	if len(named) == 0 {
		return all
	}
	var held []v1alpha1.Scope
	for _, scope := range all {
		if slices.Contains(named, scope.Name) {
			held = append(held, scope)
		}
	}
	return held
}

// namespacesOf lists the namespaces of a scope that exist and are not being deleted.
func (c *Cluster) namespacesOf(scope v1alpha1.Scope) []string {
	var selected []string
	for i := range c.Namespaces {
		namespace := &c.Namespaces[i]
		if !namespace.DeletionTimestamp.IsZero() {
			continue
		}
		in := slices.Contains(scope.Namespaces, namespace.Name)
		if scope.NamespaceSelector != nil {
			selector, err := metav1.LabelSelectorAsSelector(scope.NamespaceSelector)
			in = err == nil && selector.Matches(labels.Set(namespace.Labels))
		}
		if in {
			selected = append(selected, namespace.Name)
		}
	}
	return selected
}

// earned is a role that a user earned, and the Kubernetes group that is bound for it in the user's place, if one is.
type earned struct {
	role  v1alpha1.Role
	group string
}

// rolesOf lists the roles that a person earns, by whatever way, or the defaults where there is none.
func (c *Cluster) rolesOf(app *v1alpha1.App, user *v1alpha1.User, expressions map[string]Expression) []earned {
	var attributes []string
	for _, attribute := range app.Spec.RoleAssignment.FromAttributes {
		attributes = append(attributes, values(&user.Spec, attribute)...)
	}
	memberships := c.groupsOf(app, user.Name)
	var groupNames []string
	for _, group := range memberships {
		groupNames = append(groupNames, group.Spec.DisplayName)
	}
	slices.Sort(groupNames)
	var roles, defaults []earned
	unknown := false
	for _, role := range app.Spec.Roles {
		var conferring []string
		for _, group := range memberships {
			if isNamed(group, role.Groups) {
				conferring = append(conferring, group.Spec.DisplayName)
			}
		}
		byExpression := role.When != "" && expressions[role.When](&user.Spec, groupNames)
		now, known := c.isNow(&role, &user.Spec)
		if slices.Contains(attributes, role.Name) || len(conferring) > 0 || byExpression {
			if now {
				roles = append(roles, earned{role: role, group: groupSubject(app, &role, conferring)})
			}
			unknown = unknown || !known
		}
		if now && slices.Contains(app.Spec.RoleAssignment.Default, role.Name) {
			defaults = append(defaults, earned{role: role})
		}
	}
	if len(roles) == 0 && !unknown {
		return defaults
	}
	return roles
}

// isNow says whether the time of a role is not over for a user, and whether that is known: a user with an attribute that names no time
// does not hold the role.
func (c *Cluster) isNow(role *v1alpha1.Role, user *v1alpha1.UserSpec) (now, known bool) {
	ends := []time.Time{}
	if role.Until != nil {
		ends = append(ends, role.Until.Time)
	}
	if role.UntilAttribute != "" {
		texts := values(user, role.UntilAttribute[strings.LastIndex(role.UntilAttribute, ":")+1:])
		if len(texts) == 0 && !role.UntilOptional || len(texts) > 1 {
			return false, false
		}
		for _, text := range texts {
			end, ok := timeIn(text)
			if !ok {
				return false, false
			}
			ends = append(ends, end)
		}
	}
	at := c.At
	if at.IsZero() {
		at = time.Now()
	}
	return !slices.ContainsFunc(ends, func(end time.Time) bool { return !at.Before(end.Truncate(time.Second)) }), true
}

var offset = regexp.MustCompile(`[+-]\d\d:\d\d$`)

// timeIn reads a date, or a date and time; without a zone it is UTC.
func timeIn(text string) (time.Time, bool) {
	if len(text) == len(time.DateOnly) {
		text += "T00:00:00"
	}
	if !strings.HasSuffix(text, "Z") && !offset.MatchString(text) {
		text += "Z"
	}
	end, err := time.Parse(time.RFC3339, text)
	return end, err == nil
}

// groupSubject names, for an App that binds groups, the first of the groups by which a person earned a role. Roles that end for each
// person apart are bound by name.
func groupSubject(app *v1alpha1.App, role *v1alpha1.Role, conferring []string) string {
	if role.UntilAttribute != "" || app.Spec.SubjectMode != v1alpha1.SubjectModeGroup || len(conferring) == 0 {
		return ""
	}
	prefix := "okta:"
	if app.Spec.Kubernetes.GroupPrefix != nil {
		prefix = *app.Spec.Kubernetes.GroupPrefix
	}
	return prefix + slices.Min(conferring)
}

// groupsOf lists the pushed groups that a person is a member of.
func (c *Cluster) groupsOf(app *v1alpha1.App, user string) []*v1alpha1.Group {
	var member []*v1alpha1.Group
	for i := range c.Groups {
		group := &c.Groups[i]
		if group.Namespace == app.Namespace && group.Spec.App == app.Name && c.isEffective(group) && c.hasMember(group, user) {
			member = append(member, group)
		}
	}
	return member
}

// isEffective says whether a group owns its name and is not being deleted.
func (c *Cluster) isEffective(group *v1alpha1.Group) bool {
	return group.DeletionTimestamp.IsZero() &&
		c.isClaimed(group.Namespace, group.Spec.App, v1alpha1.ClaimDisplayName, group.Spec.DisplayNameKey, group.Name)
}

func (c *Cluster) hasMember(group *v1alpha1.Group, user string) bool {
	if group.Spec.Sharding == nil {
		return slices.Contains(group.Spec.Members, user)
	}
	return slices.ContainsFunc(c.Shards, func(shard v1alpha1.MemberShard) bool {
		return shard.Namespace == group.Namespace && shard.Spec.Group == group.Name &&
			shard.Spec.Epoch == group.Spec.Sharding.Epoch && slices.Contains(shard.Spec.Members, user)
	})
}

// isNamed says whether a role names a group, by its display name without regard to case or by its external id.
func isNamed(group *v1alpha1.Group, references []string) bool {
	return slices.ContainsFunc(references, func(reference string) bool {
		return reference != "" && (fold(reference) == fold(group.Spec.DisplayName) || reference == group.Spec.ExternalID)
	})
}

// fold makes display names comparable (RFC 7643 section 4.2 leaves their case open; the operator ignores it).
func fold(name string) string { return norm.NFC.String(cases.Fold().String(norm.NFD.String(name))) }
