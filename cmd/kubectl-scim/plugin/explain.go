package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/internal/names"
)

// explanation is the output of explain.
type explanation struct {
	Namespace          string `json:"namespace"`
	Name               string `json:"name"`
	UserName           string `json:"userName"`
	DisplayName        string `json:"displayName,omitempty"`
	ExternalID         string `json:"externalId,omitempty"`
	App                string `json:"app"`
	Mode               string `json:"mode,omitempty"`
	KubernetesUsername string `json:"kubernetesUsername,omitempty"`
	// State is Active, Inactive, Suspended or Deleted.
	State string `json:"state"`
	// Current says that the controller's status speaks of the user as it is now.
	Current bool `json:"current"`
	// Ready is the controller's own summary.
	Ready string `json:"ready,omitempty"`
	// Roles that the status says the user holds.
	Roles []heldRole `json:"roles,omitempty"`
	// Missing is what the user would hold and does not, and what could not be understood.
	Missing []missingRole `json:"missing,omitempty"`
	// Ended are roles that the user would hold if their time were not over.
	Ended []endedRole `json:"ended,omitempty"`
	// NotEarned are the App's other roles, with what earns each.
	NotEarned      []otherRole               `json:"notEarned,omitempty"`
	ResidualAccess []v1alpha1.ResidualAccess `json:"residualAccess,omitempty"`
	ResidualCount  int32                     `json:"residualAccessCount,omitempty"`
	// Facts are what the objects tell of the past, the latest first.
	Facts []fact `json:"facts,omitempty"`
}

type heldRole struct {
	Role    string   `json:"role"`
	Scope   string   `json:"scope"`
	Where   string   `json:"where"`
	Grants  []string `json:"grants,omitempty"`
	Bound   string   `json:"bound"`
	Held    bool     `json:"held,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
	// Until is when the role ends; absent: never.
	Until *metav1.Time `json:"until,omitempty"`
}

type endedRole struct {
	Role  string       `json:"role"`
	Scope string       `json:"scope"`
	Until *metav1.Time `json:"until"`
}

type missingRole struct {
	Role  string `json:"role,omitempty"`
	Scope string `json:"scope,omitempty"`
	Why   string `json:"why"`
}

type otherRole struct {
	Role     string   `json:"role"`
	EarnedBy []string `json:"earnedBy"`
}

func newExplain(s *session) *cobra.Command {
	o := &output{}
	command := &cobra.Command{
		Use:   "explain USER",
		Short: "Explain a user's access: each role, where and why; what is missing and why",
		Long: `Explain a user's access: each role, its scope, reason and end; what is missing
and why; what has ended; what spec.safety holds; what still gives a leaver
access; and the last ten facts that the objects and their Events tell.

USER is a userName, an externalId, a Kubernetes user name as bindings have it,
or the name of the object. What the user holds is what the controller wrote
into the status. What is missing is worked out here from App, user and groups,
by the controller's own code.`,
		Example: `  kubectl scim explain jane@example.com
  kubectl scim explain okta:jane@example.com -o yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: s.completeUsers(1),
		RunE: s.run(func(ctx context.Context, args []string) error {
			user, err := s.user(ctx, args[0])
			if err != nil {
				return err
			}
			e, err := explainer{s}.explain(ctx, user)
			if err != nil {
				return err
			}
			if o.isTable() {
				return s.printExplanation(e)
			}
			return s.printValue(o, e)
		}),
	}
	s.addAllNamespaces(command)
	o.addTo(command, formatJSON, formatYAML)
	return command
}

// user finds one user by the name of its object, its userName, externalId or Kubernetes user name. It fails where none or
// several are found.
func (s *session) user(ctx context.Context, name string) (*v1alpha1.User, error) {
	if !s.all {
		user := &v1alpha1.User{}
		err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: bare(name)}, user)
		if err == nil || !apierrors.IsNotFound(err) && !apierrors.IsBadRequest(err) {
			return user, err
		}
	}
	for _, candidates := range []func() ([]v1alpha1.User, error){
		func() ([]v1alpha1.User, error) {
			return s.usersWith(ctx, client.MatchingFields{"spec.userNameKey": names.Fold(name)}, nil)
		},
		func() ([]v1alpha1.User, error) {
			return s.usersWith(ctx, client.MatchingFields{"spec.externalId": name}, nil)
		},
		func() ([]v1alpha1.User, error) {
			return s.usersWith(ctx, nil, func(user *v1alpha1.User) bool {
				return user.Status.KubernetesUsername == name || user.Status.BoundAs == name || user.Name == bare(name)
			})
		},
	} {
		found, err := candidates()
		if err != nil {
			return nil, err
		}
		switch {
		case len(found) == 1:
			return &found[0], nil
		case len(found) > 1:
			return nil, severalUsers(name, found)
		}
	}
	if s.all {
		return nil, fmt.Errorf("no user %q in any namespace", name)
	}
	return nil, fmt.Errorf("no user %q in namespace %s; -A looks in all", name, s.namespace)
}

func severalUsers(name string, found []v1alpha1.User) error {
	texts := make([]string, 0, len(found))
	for i := range found {
		texts = append(texts, fmt.Sprintf("%s/%s of App %s", found[i].Namespace, found[i].Name, found[i].Spec.App))
	}
	return fmt.Errorf("%d users are called %q: %s. Name one by its object", len(found), name, strings.Join(texts, ", "))
}

func (s *session) usersWith(ctx context.Context, fields client.MatchingFields, matches func(*v1alpha1.User) bool) (found []v1alpha1.User, err error) {
	list := &v1alpha1.UserList{}
	options := []client.ListOption{s.within()}
	if fields != nil {
		options = append(options, fields)
	}
	return found, s.each(ctx, list, func() error {
		for i := range list.Items {
			if matches == nil || matches(&list.Items[i]) {
				found = append(found, *list.Items[i].DeepCopy())
			}
		}
		return nil
	}, options...)
}

// explainer finds out why a user has what it has.
type explainer struct{ *session }

func (x explainer) explain(ctx context.Context, user *v1alpha1.User) (*explanation, error) {
	ready := conditionOf(user.Status.Conditions, v1alpha1.ConditionReady)
	e := &explanation{
		Namespace: user.Namespace, Name: user.Name, UserName: user.Spec.UserName, DisplayName: user.Spec.DisplayName,
		ExternalID: user.Spec.ExternalID, App: user.Spec.App, KubernetesUsername: user.Status.KubernetesUsername,
		State: stateOf(user), Current: user.Status.ObservedGeneration == user.Generation, Ready: ready.Message,
		ResidualAccess: user.Status.ResidualAccess, ResidualCount: user.Status.ResidualAccessCount,
	}
	app := &v1alpha1.App{}
	err := x.client.Get(ctx, client.ObjectKey{Namespace: user.Namespace, Name: user.Spec.App}, app)
	switch {
	case apierrors.IsNotFound(err):
		e.Missing = append(e.Missing, missingRole{Why: fmt.Sprintf("the App %s does not exist: its users have no access", user.Spec.App)})
		app = nil
	case err != nil:
		return nil, err
	}
	if err := x.explainRoles(ctx, e, app, user); err != nil {
		return nil, err
	}
	e.Facts, err = x.factsOf(ctx, user)
	return e, err
}

func stateOf(user *v1alpha1.User) string {
	switch {
	case !user.DeletionTimestamp.IsZero():
		return v1alpha1.ReasonDeleted
	case !user.Spec.Active:
		return v1alpha1.ReasonInactive
	case user.Spec.Suspended:
		return v1alpha1.ReasonSuspended
	}
	return v1alpha1.ReasonActive
}

// explainRoles compares what the status says with what the App, the user and the groups make. app is nil where it is gone.
func (x explainer) explainRoles(ctx context.Context, e *explanation, app *v1alpha1.App, user *v1alpha1.User) error {
	var policy *access.Policy
	if app != nil {
		e.Mode = app.Spec.Mode
		var invalid []access.FieldError
		if policy, invalid = access.Compile(app, metav1.NamespaceSystem); policy == nil {
			e.Missing = append(e.Missing, missingRole{Why: "the App is invalid, and grants nothing new: " + access.Message(invalid)})
		}
	}
	for _, role := range user.Status.Roles {
		e.Roles = append(e.Roles, heldAs(role, policy))
	}
	if policy == nil {
		return nil
	}
	groups, err := x.groupsFor(ctx, policy, user)
	if err != nil {
		return err
	}
	decision, err := policy.Evaluate(ctx, &user.Spec, groups, time.Now())
	if err != nil {
		return err
	}
	e.addMissing(app, user, decision)
	for _, role := range decision.Ended {
		e.Ended = append(e.Ended, endedRole{Role: role.Role, Scope: role.Scope, Until: role.Until})
	}
	e.addNotEarned(app, user, decision)
	return nil
}

// groupsFor returns the groups that count for the user, where any group can make a difference.
func (x explainer) groupsFor(ctx context.Context, policy *access.Policy, user *v1alpha1.User) (counting []access.Group, err error) {
	if !policy.UsesGroups() {
		return nil, nil
	}
	protocol := membership.New(membership.NewStore(x.client, user.Namespace, nil), 0)
	list := &v1alpha1.GroupList{}
	err = x.each(ctx, list, func() error {
		for i := range list.Items {
			group := &list.Items[i]
			if !group.IsNameReserved() || !group.DeletionTimestamp.IsZero() || !policy.Concerns(accessGroup(group)) {
				continue
			}
			member, err := protocol.Contains(ctx, group.DeepCopy(), user.Name)
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			if member {
				counting = append(counting, accessGroup(group))
			}
		}
		return nil
	}, client.InNamespace(user.Namespace), client.MatchingFields{"spec.app": user.Spec.App})
	return counting, err
}

func accessGroup(group *v1alpha1.Group) access.Group {
	return access.Group{DisplayName: group.Spec.DisplayName, Key: group.Spec.DisplayNameKey, ExternalID: group.Spec.ExternalID}
}

func heldAs(role v1alpha1.EarnedRole, policy *access.Policy) heldRole {
	held := heldRole{Role: role.Role, Scope: role.Scope, Where: "?", Bound: role.Bound, Held: access.IsHeld(role), Reasons: role.Reasons, Until: role.Until}
	if held.Bound == "" {
		held.Bound = "Yes"
	}
	if policy == nil {
		return held
	}
	if scope, found := policy.Scope(role.Scope); found {
		held.Where = placeOf(scope)
	}
	grants, _ := policy.Grants(role.Role, role.Scope)
	for _, grant := range grants {
		held.Grants = append(held.Grants, grant.RoleRef().Kind+"/"+grant.RoleRef().Name)
	}
	return held
}

func placeOf(scope access.Scope) string {
	switch {
	case scope.ClusterWide:
		return "the whole cluster"
	case scope.Selector != nil:
		return "namespaces with " + scope.Written().String()
	}
	return "namespaces " + joined(scope.Namespaces)
}

// addMissing tells of what the user earned and the status does not show, of what is not bound, and of what was not understood.
func (e *explanation) addMissing(app *v1alpha1.App, user *v1alpha1.User, decision access.Decision) {
	told := conditionOf(user.Status.Conditions, v1alpha1.ConditionAccessGranted).Message
	for _, role := range e.Roles {
		if role.Bound != "Yes" {
			e.Missing = append(e.Missing, missingRole{Role: role.Role, Scope: role.Scope, Why: cmp.Or(told, "no binding gives it in full")})
		}
	}
	for _, earned := range decision.Roles {
		if slices.ContainsFunc(e.Roles, func(role heldRole) bool { return role.Role == earned.Role && role.Scope == earned.Scope }) {
			continue
		}
		why := cmp.Or(told, conditionOf(user.Status.Conditions, v1alpha1.ConditionReady).Message, "the controller has not told why")
		switch {
		case e.State == v1alpha1.ReasonDeleted:
			why = "the user is being deleted"
		case e.State == v1alpha1.ReasonInactive:
			why = "the user is inactive: the client deactivated it"
		case e.State == v1alpha1.ReasonSuspended:
			why = "the user is suspended in the cluster"
		case !e.Current:
			why = "the controller has not looked at the last change yet"
		case app.Status.Evaluation != nil && app.Status.Evaluation.Done < app.Status.Evaluation.Users:
			why = "the App was edited, and its users are being evaluated"
		}
		e.Missing = append(e.Missing, missingRole{Role: earned.Role, Scope: earned.Scope, Why: why})
	}
	for _, problem := range decision.Problems {
		e.Missing = append(e.Missing, missingRole{Role: problem.Role, Why: problem.Message})
	}
	for _, scope := range app.Status.MissingScopes {
		if slices.ContainsFunc(e.Roles, func(role heldRole) bool { return role.Scope == scope.Name }) {
			e.Missing = append(e.Missing, missingRole{Scope: scope.Name, Why: scope.Message})
		}
	}
}

// addNotEarned tells what earns the App's other roles.
func (e *explanation) addNotEarned(app *v1alpha1.App, user *v1alpha1.User, decision access.Decision) {
	for i := range app.Spec.Roles {
		role := &app.Spec.Roles[i]
		isEarned := slices.ContainsFunc(slices.Concat(decision.Roles, decision.Ended), func(earned v1alpha1.EarnedRole) bool { return earned.Role == role.Name })
		if isEarned || slices.ContainsFunc(user.Status.Roles, func(held v1alpha1.EarnedRole) bool { return held.Role == role.Name }) {
			continue
		}
		e.NotEarned = append(e.NotEarned, otherRole{Role: role.Name, EarnedBy: earnedBy(&app.Spec, role)})
	}
}

func earnedBy(spec *v1alpha1.AppSpec, role *v1alpha1.Role) (ways []string) {
	for _, attribute := range spec.RoleAssignment.FromAttributes {
		ways = append(ways, fmt.Sprintf("attribute %s with %q", attribute, role.Name))
	}
	for _, group := range role.Groups {
		ways = append(ways, fmt.Sprintf("membership of group %q", group))
	}
	if role.When != "" {
		ways = append(ways, "the expression "+role.When)
	}
	if slices.Contains(spec.RoleAssignment.Default, role.Name) {
		ways = append(ways, "default of active users without another role")
	}
	if ways == nil {
		ways = []string{"nothing: no attribute, group, expression or default names it"}
	}
	return ways
}
