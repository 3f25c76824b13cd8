// Package access is the policy of an App: which roles a person earns, in which scopes, why, and until when.
//
// It stands between the App that people write and the controllers that bind: Compile checks an App once and Evaluate
// answers for one user after the other. It is pure: it holds no client and reads no clock.
package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/attributes"
	"github.com/scim-operator/scim-operator/internal/names"
)

// Reasons of a Problem with a role's expression.
const (
	// ReasonExpressionFailed: it compared what cannot be compared, or looked at an attribute that is too large.
	ReasonExpressionFailed = "ExpressionFailed"
	// ReasonExpressionTooExpensive: the App's expressions exceeded the budget of one user.
	ReasonExpressionTooExpensive = "ExpressionTooExpensive"
)

// Policy is a sound App, compiled. It is immutable and safe for concurrent use.
type Policy struct {
	mode            string
	fromAttributes  []string
	defaults        []string
	scopesAttribute string
	roles           []role
	roleByName      map[string]*role
	scopes          []Scope
	scopeByName     map[string]*Scope
	// subjectsAreGroups says that a role earned by a group is bound by the name of that group.
	subjectsAreGroups bool
	groupPrefix       string
	hasExpressions    bool
	// superseded ends when the App is no more what the policy was made of; nil where nothing tells.
	superseded context.Context //nolint:containedctx // it is the policy's life, not a call's
}

type role struct {
	name   string
	groups []groupName
	when   *expression
	end    end
	scopes map[string]bool
	grants []v1alpha1.Grant
}

// Scope says where a role holds: exactly one of Namespaces, Selector and ClusterWide is set.
type Scope struct {
	Name       string
	Namespaces []string
	// Selector leaves out protected namespaces that the App does not name.
	Selector    labels.Selector
	ClusterWide bool

	// written is the selector as the App has it; protected are the namespaces that Selector leaves out.
	written   labels.Selector
	protected []string
}

// Written returns the selector as the App has it, for messages: Selector leaves protected namespaces out, too.
func (s *Scope) Written() labels.Selector { return s.written }

// LeftOut returns the protected namespaces that the selector of the scope takes in without naming them, of those that exist,
// with their labels. Nothing is bound there.
func (s *Scope) LeftOut(existing map[string]labels.Set) []string {
	var names []string
	for _, name := range s.protected {
		if set, exists := existing[name]; exists && s.written.Matches(set) {
			names = append(names, name)
		}
	}
	return names
}

// Problem is something about one user that kept a role from being granted. It never fails a provisioning request.
type Problem struct {
	// Reason is v1alpha1.ReasonMissingScope, v1alpha1.ReasonUnknownRole, v1alpha1.ReasonInvalidSubject,
	// v1alpha1.ReasonRoleNotGranted, ReasonExpressionFailed or ReasonExpressionTooExpensive.
	Reason string
	// Message is for an administrator of the identity provider.
	Message string
	// Role is the one with the expression that had no result; "" for other reasons.
	Role string
}

// Decision is what one user earned.
type Decision struct {
	// Roles earned, sorted by role and scope.
	Roles []v1alpha1.EarnedRole
	// Ended are the roles that the user would hold if their time were not over, sorted as Roles.
	Ended []v1alpha1.EarnedRole
	// Groups names, by role, the Kubernetes group that native bindings name in the person's place (subjectMode Group).
	Groups map[string]string
	// Problems that kept roles from being granted.
	Problems []Problem
	// endUnknown says that the user earned a role with an end that is not known.
	endUnknown bool
}

// Mode is v1alpha1.ModeEnforce or v1alpha1.ModeObserve.
func (p *Policy) Mode() string { return p.mode }

// Grants returns what holders of a role are given, and whether the role exists and may hold in that scope.
func (p *Policy) Grants(roleName, scopeName string) ([]v1alpha1.Grant, bool) {
	earned, found := p.roleByName[roleName]
	if !found || p.scopeByName[scopeName] == nil || !earned.holdsIn(scopeName) {
		return nil, false
	}
	return earned.grants, true
}

// Scope returns a scope by name.
func (p *Policy) Scope(name string) (Scope, bool) {
	scope, found := p.scopeByName[name]
	if !found {
		return Scope{}, false
	}
	return *scope, true
}

// Scopes returns all scopes of the App. The slice is shared: not to be changed.
func (p *Policy) Scopes() []Scope { return p.scopes }

// EachGrant calls f for each grant of each role in each scope that the role holds in.
func (p *Policy) EachGrant(f func(role string, grant v1alpha1.Grant, scope *Scope)) {
	for i := range p.roles {
		for j := range p.scopes {
			if !p.roles[i].holdsIn(p.scopes[j].Name) {
				continue
			}
			for _, grant := range p.roles[i].grants {
				f(p.roles[i].name, grant, &p.scopes[j])
			}
		}
	}
}

// UsesExpressions says whether roles are earned by expressions.
func (p *Policy) UsesExpressions() bool { return p.hasExpressions }

func (r *role) holdsIn(scope string) bool {
	return r.scopes == nil || r.scopes[scope]
}

// Evaluate returns the roles that a user has earned at a time, by attributes and by the groups that the user is a member of.
// Groups must be all that count: those with a claimed name that are not being deleted. Whether the user may have access at all
// is the caller's question.
//
// A role that has ended is not earned. One with an end that is not known is a Problem and not earned, and neither are default
// roles then.
//
// All expressions together have one budget. An expression that fails or exceeds it earns nothing and is a Problem. It is not
// known then whether the user earned another role, so no default role is earned either. The only error is that ctx ended, or
// the policy with it (see Cache.Supersede): nothing was found out then.
func (p *Policy) Evaluate(ctx context.Context, user *v1alpha1.UserSpec, groups []Group, now time.Time) (Decision, error) {
	var decision Decision
	groups = sortGroups(groups)
	reasons, ends := map[string][]string{}, map[string]*metav1.Time{}
	p.earnByAttribute(user, reasons, &decision)
	p.earnByGroup(groups, reasons, &decision)
	if err := p.earnByExpression(ctx, user, groups, reasons, &decision); err != nil {
		return Decision{}, err
	}
	ended := p.dropEnded(user, now, reasons, ends, &decision)
	if len(reasons) == 0 && !decision.unevaluated() && !decision.endUnknown {
		for _, name := range p.defaults {
			if ended[name] == nil {
				reasons[name] = []string{"default role of the App"}
			}
		}
		maps.Copy(ended, p.dropEnded(user, now, reasons, ends, &decision))
	}
	held := p.scopesOf(user, &decision)
	decision.Roles = p.inScopes(held, reasons, ends)
	decision.Ended = p.inScopes(held, ended, ends)
	return decision, nil
}

// inScopes returns roles in each of the scopes that they may hold in, sorted by role and scope.
func (p *Policy) inScopes(scopes []string, reasons map[string][]string, ends map[string]*metav1.Time) (roles []v1alpha1.EarnedRole) {
	for name, why := range reasons {
		earned := p.roleByName[name]
		for _, scope := range scopes {
			if earned.holdsIn(scope) {
				roles = append(roles, v1alpha1.EarnedRole{Role: name, Scope: scope, Reasons: why, Until: ends[name]})
			}
		}
	}
	slices.SortFunc(roles, func(a, b v1alpha1.EarnedRole) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Scope, b.Scope))
	})
	return roles
}

// unevaluated says that an expression had no result.
func (d *Decision) unevaluated() bool {
	_, failed := d.ExpressionProblem()
	return failed
}

// ExpressionProblem returns the problem of the first expression that had no result.
func (d *Decision) ExpressionProblem() (Problem, bool) {
	i := slices.IndexFunc(d.Problems, func(p Problem) bool { return p.Role != "" })
	if i < 0 {
		return Problem{}, false
	}
	return d.Problems[i], true
}

func (p *Policy) earnByAttribute(user *v1alpha1.UserSpec, reasons map[string][]string, decision *Decision) {
	for _, attribute := range p.fromAttributes {
		values, multiValued := attributes.Values(user, attribute)
		verb := "is"
		if multiValued {
			verb = "has"
		}
		for _, value := range dedupe(values) {
			if p.roleByName[value] == nil {
				decision.Problems = append(decision.Problems, Problem{
					Reason:  v1alpha1.ReasonUnknownRole,
					Message: fmt.Sprintf("attribute %s %s %q, which is no role of the App", attribute, verb, shorten(value)),
				})
				continue
			}
			reasons[value] = append(reasons[value], fmt.Sprintf("%s%s %s %q", reasonAttribute, attribute, verb, value))
		}
	}
}

func (p *Policy) earnByExpression(ctx context.Context, user *v1alpha1.UserSpec, groups []Group, reasons map[string][]string, decision *Decision) error {
	if !p.hasExpressions {
		return nil
	}
	ctx, stop := p.whileWanted(ctx)
	defer stop()
	variables, spent := expressionVariables(user, groups), uint64(0)
	for i := range p.roles {
		candidate := &p.roles[i]
		if candidate.when == nil {
			continue
		}
		holds, cost, err := candidate.when.holds(ctx, variables)
		if spent += cost; err == nil && spent > evaluationBudget {
			err = errOverBudget
		}
		problem := Problem{Reason: ReasonExpressionFailed, Role: candidate.name, Message: fmt.Sprintf("expression of role %s: %v", candidate.name, err)}
		switch {
		case errors.Is(err, ErrInterrupted):
			return err
		case errors.Is(err, errOverBudget):
			problem.Reason = ReasonExpressionTooExpensive
			problem.Message += "; neither this role nor those after it are earned by their expressions"
			decision.Problems = append(decision.Problems, problem)
			return nil
		case err != nil:
			decision.Problems = append(decision.Problems, problem)
		case holds:
			reasons[candidate.name] = append(reasons[candidate.name], "expression of role "+candidate.name)
		}
	}
	return nil
}

// whileWanted returns a context that ends with ctx, and when the App was edited or deleted.
func (p *Policy) whileWanted(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	if p.superseded == nil {
		return ctx, cancel
	}
	stop := context.AfterFunc(p.superseded, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// scopesOf returns the scopes that the user's attribute names, or all scopes if it names none. A name that is unknown grants
// nothing; it never widens to every scope.
func (p *Policy) scopesOf(user *v1alpha1.UserSpec, decision *Decision) []string {
	var names []string
	if p.scopesAttribute != "" {
		names = attributes.List(user, p.scopesAttribute)
		if attributes.IsUnreadable(user, p.scopesAttribute) {
			decision.Problems = append(decision.Problems, Problem{
				Reason:  v1alpha1.ReasonMissingScope,
				Message: fmt.Sprintf("attribute %s names no scope in a form that can be read: a text, or an array of texts or of objects with a value", p.scopesAttribute),
			})
			return nil
		}
	}
	if len(names) == 0 {
		for i := range p.scopes {
			names = append(names, p.scopes[i].Name)
		}
		return names
	}
	var held []string
	for _, name := range names {
		if p.scopeByName[name] == nil {
			decision.Problems = append(decision.Problems, Problem{
				Reason:  v1alpha1.ReasonMissingScope,
				Message: fmt.Sprintf("attribute %s names %q, which is no scope of the App", p.scopesAttribute, shorten(name)),
			})
			continue
		}
		held = append(held, name)
	}
	return held
}

// Subject returns the RBAC user name that stands for a person. The error names the attribute at fault: it is absent, or it
// would make a name that is reserved for Kubernetes.
func Subject(mapping v1alpha1.KubernetesMapping, user *v1alpha1.UserSpec) (string, error) {
	attribute := mapping.UsernameFrom
	if attribute == "" {
		attribute = v1alpha1.IdentifierUserName
	}
	name := mapping.Username(user)
	switch {
	case name == "":
		return "", fmt.Errorf("the user has no %s, which the App's kubernetes.usernameFrom asks for", attribute)
	case names.IsReserved(name):
		return "", fmt.Errorf("attribute %s makes a Kubernetes user name that begins with %s, which is reserved", attribute, names.ReservedPrefix)
	case len(name) > maxSubjectLength:
		return "", fmt.Errorf("attribute %s makes a Kubernetes user name of more than %d bytes", attribute, maxSubjectLength)
	}
	return name, nil
}

// Subjects returns the RBAC user names that may stand for a user in bindings until the user is evaluated. These are the name
// that the App makes now, and the one in the user's status, if that is about the current generation. Names that the App
// would make with another usernameFrom count, too: an edit that was undone before any status told of it may have bound one
// of them. A name that the user gave up by a change of its own is none of them: it may be another user's by now.
func Subjects(mapping v1alpha1.KubernetesMapping, user *v1alpha1.User) []string {
	var names []string
	if name, err := Subject(mapping, &user.Spec); err == nil {
		names = append(names, name)
	}
	if former := user.Status.KubernetesUsername; former != "" && user.Status.ObservedGeneration == user.Generation {
		names = append(names, former)
	}
	for _, from := range []string{v1alpha1.IdentifierUserName, v1alpha1.IdentifierEmail, v1alpha1.IdentifierExternalID} {
		mapping.UsernameFrom = from
		if name, err := Subject(mapping, &user.Spec); err == nil {
			names = append(names, name)
		}
	}
	return dedupe(names)
}

// maxSubjectLength is what AppRoleBinding's schema admits.
const maxSubjectLength = 1024

func dedupe(values []string) []string {
	var unique []string
	for _, value := range values {
		if !slices.Contains(unique, value) {
			unique = append(unique, value)
		}
	}
	return unique
}

// shorten keeps a value that a client sent from filling a condition's message.
func shorten(value string) string {
	const limit = 128
	runes := []rune(value)
	if len(runes) <= limit {
		return value
	}
	return string(runes[:limit]) + "…"
}
