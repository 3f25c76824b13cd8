package plugin

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/access"
)

// appDiff is the output of diff.
type appDiff struct {
	App string `json:"app"`
	// Changes are sorted by user, role and scope.
	Changes []roleChange `json:"changes"`
	Gaining int          `json:"usersGaining"`
	Losing  int          `json:"usersLosing"`
	Users   int          `json:"users"`
	// Unevaluated counts users for which an expression of either version has no result.
	Unevaluated int `json:"usersUnevaluated,omitempty"`
}

// roleChange is one role in one scope that one user gains, loses, or has by other bindings.
type roleChange struct {
	User   string `json:"user"`
	ID     string `json:"id"`
	Change string `json:"change"`
	Role   string `json:"role"`
	Scope  string `json:"scope"`
	Was    string `json:"was,omitempty"`
	Will   string `json:"will,omitempty"`
}

const (
	changeGains   = "gains"
	changeLoses   = "loses"
	changeChanges = "changes"
)

func newDiff(s *session) *cobra.Command {
	o := &output{}
	file := ""
	command := &cobra.Command{
		Use:   "diff APP -f FILE",
		Short: "Show which users would gain and lose which role by an edit of an App",
		Long: `Show which users would gain and lose which role by an edit of an App.

The file holds the App as it is to be. The API server completes and checks it
by a dry run, admission included, where you may update the App; otherwise it is
taken as it is. The users' roles are worked out here, by the controller's own
code, over the users and groups as they are now: the API server has no call for
that. What spec.safety holds at the moment is not looked at.

Exit status as of kubectl diff: 0 no user gains or loses anything; 1 some do;
more than 1 an error.`,
		Example:           "  kubectl scim diff quickstart -f app.yaml",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: s.completeApps(1),
		RunE: s.run(func(ctx context.Context, args []string) error {
			before, after, err := s.versions(ctx, bare(args[0]), file)
			if err != nil {
				return err
			}
			diff, err := s.diff(ctx, before, after)
			if err != nil {
				return err
			}
			if err := s.printDiff(o, after, diff); err != nil {
				return err
			}
			if len(diff.Changes) > 0 {
				return errNo
			}
			return nil
		}),
	}
	command.Flags().StringVarP(&file, "filename", "f", "", "file with the App as it is to be, - for standard input")
	_ = command.MarkFlagRequired("filename")
	o.addTo(command, formatJSON, formatYAML)
	return command
}

// versions returns the App as it is, nil where there is none, and as it would be.
func (s *session) versions(ctx context.Context, name, file string) (before, after *v1alpha1.App, err error) {
	after, err = s.readApp(name, file)
	if err != nil {
		return nil, nil, err
	}
	before = &v1alpha1.App{}
	err = s.client.Get(ctx, client.ObjectKeyFromObject(after), before)
	switch {
	case apierrors.IsNotFound(err):
		before, err = nil, s.client.Create(ctx, after, client.DryRunAll)
	case err == nil:
		spec := after.Spec
		after = before.DeepCopy()
		after.Spec = spec
		err = s.client.Update(ctx, after, client.DryRunAll)
	default:
		return nil, nil, err
	}
	return before, after, s.tolerate(err, "defaults and admission: the edit is not checked by the API server, and so")
}

// readApp returns the one App of that name in a file of manifests.
func (s *session) readApp(name, file string) (*v1alpha1.App, error) {
	in := s.In
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = opened.Close() }()
		in = opened
	}
	documents := yaml.NewYAMLReader(bufio.NewReader(in))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s holds no App %s of %s", file, name, v1alpha1.GroupVersion)
		}
		if err != nil {
			return nil, err
		}
		var kind metav1.PartialObjectMetadata
		if err := sigsyaml.Unmarshal(document, &kind); err != nil || kind.Kind != "App" || kind.Name != name || kind.APIVersion != v1alpha1.GroupVersion.String() {
			continue
		}
		app := &v1alpha1.App{}
		if err := sigsyaml.UnmarshalStrict(document, app); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if app.Namespace == "" {
			app.Namespace = s.namespace
		}
		return app, nil
	}
}

// held is what users hold by one version of an App: by role and scope, what is bound for it.
type held map[[2]string]string

// version evaluates users by one version of an App, at one time. A version that is nil or observes gives nothing.
type version struct {
	app    *v1alpha1.App
	policy *access.Policy
	now    time.Time
}

func compileVersion(app *v1alpha1.App, now time.Time) (*version, error) {
	v := &version{app: app, now: now}
	if app == nil {
		return v, nil
	}
	var invalid []access.FieldError
	if v.policy, invalid = access.Compile(app, metav1.NamespaceSystem); v.policy == nil {
		return nil, errors.New(access.Message(invalid))
	}
	return v, nil
}

// holds returns what the user holds, and whether every expression had a result.
func (v *version) holds(ctx context.Context, user *v1alpha1.User, groups []access.Group) (held, bool, error) {
	if v.policy == nil || v.policy.Mode() == v1alpha1.ModeObserve || !user.MayHaveAccess() || !user.IsNameReserved() {
		return nil, true, nil
	}
	decision, err := v.policy.Evaluate(ctx, &user.Spec, groups, v.now)
	if err != nil {
		return nil, false, err
	}
	_, failed := decision.ExpressionProblem()
	subject, err := access.Subject(v.app.Spec.Kubernetes, &user.Spec)
	if err != nil {
		return nil, !failed, nil //nolint:nilerr // without a name that stands for the user nothing is bound
	}
	roles := held{}
	for _, role := range decision.Roles {
		roles[[2]string{role.Role, role.Scope}] = v.bound(role, cmp.Or(decision.Groups[role.Role], subject))
	}
	return roles, !failed, nil
}

// bound describes the bindings of a role in a scope: for which name, what, where and until when.
func (v *version) bound(role v1alpha1.EarnedRole, subject string) string {
	grants, _ := v.policy.Grants(role.Role, role.Scope)
	texts := make([]string, len(grants))
	for i, grant := range grants {
		texts[i] = grant.RoleRef().Kind + "/" + grant.RoleRef().Name
	}
	scope, _ := v.policy.Scope(role.Scope)
	end := ""
	if role.Until != nil {
		end = " until " + until(role.Until)
	}
	return fmt.Sprintf("%s in %s for %s%s", cmp.Or(joined(texts), "nothing"), placeOf(scope), subject, end)
}

func (s *session) diff(ctx context.Context, before, after *v1alpha1.App) (*appDiff, error) {
	now := time.Now()
	was, err := compileVersion(before, now)
	if err != nil {
		s.note("The App as it is is invalid, and grants nothing new (%v): it is compared as if it granted nothing.", err)
		was = &version{}
	}
	will, err := compileVersion(after, now)
	if err != nil {
		return nil, fmt.Errorf("the edit is invalid: %w", err)
	}
	var groups *groupsOf
	if was.policy != nil && was.policy.UsesGroups() || will.policy.UsesGroups() {
		if groups, err = s.readGroups(ctx, after.Namespace); err != nil {
			return nil, err
		}
	}
	diff := &appDiff{App: after.Name, Changes: []roleChange{}}
	users := &v1alpha1.UserList{}
	err = s.each(ctx, users, func() error {
		for i := range users.Items {
			if err := diff.compare(ctx, was, will, &users.Items[i], groups); err != nil {
				return err
			}
		}
		return nil
	}, client.InNamespace(after.Namespace), client.MatchingFields{"spec.app": after.Name})
	slices.SortStableFunc(diff.Changes, func(a, b roleChange) int { return strings.Compare(a.User, b.User) })
	return diff, err
}

// compare adds what one user gains and loses.
func (d *appDiff) compare(ctx context.Context, was, will *version, user *v1alpha1.User, groups *groupsOf) error {
	var counting []access.Group
	if groups != nil {
		for _, group := range groups.of(user) {
			counting = append(counting, accessGroup(group))
		}
	}
	had, known, err := was.holds(ctx, user, counting)
	if err != nil {
		return err
	}
	gets, alsoKnown, err := will.holds(ctx, user, counting)
	if err != nil {
		return err
	}
	d.Users++
	if !known || !alsoKnown {
		d.Unevaluated++
	}
	gains, loses := false, false
	keys := maps.Clone(had)
	if keys == nil {
		keys = held{}
	}
	maps.Copy(keys, gets)
	for _, key := range slices.SortedFunc(maps.Keys(keys), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		change := roleChange{User: user.Spec.UserName, ID: user.Name, Role: key[0], Scope: key[1], Was: had[key], Will: gets[key]}
		switch {
		case change.Was == change.Will:
			continue
		case change.Was == "":
			change.Change, gains = changeGains, true
		case change.Will == "":
			change.Change, loses = changeLoses, true
		default:
			change.Change = changeChanges
		}
		d.Changes = append(d.Changes, change)
	}
	if gains {
		d.Gaining++
	}
	if loses {
		d.Losing++
	}
	return nil
}

func (c *console) printDiff(o *output, after *v1alpha1.App, diff *appDiff) error {
	if !o.isTable() {
		return c.printValue(o, diff)
	}
	for _, change := range diff.Changes {
		switch change.Change {
		case changeGains:
			c.say("%s %s gains %s in %s: %s", mark{c.colour(green, "+")}, change.User, change.Role, change.Scope, change.Will)
		case changeLoses:
			c.say("%s %s loses %s in %s: %s", mark{c.colour(red, "-")}, change.User, change.Role, change.Scope, change.Was)
		default:
			c.say("%s %s has %s in %s otherwise: %s; was %s", mark{c.colour(yellow, "~")}, change.User, change.Role, change.Scope, change.Will, change.Was)
		}
	}
	c.say("%d users of App %s: %d gain, %d lose", diff.Users, diff.App, diff.Gaining, diff.Losing)
	if diff.Unevaluated > 0 {
		c.say("%d users have an expression without a result: what it would earn is not shown", diff.Unevaluated)
	}
	if safety := after.Spec.Safety; safety != nil && diff.Losing > int(safety.MaxRemovals) {
		c.say("spec.safety lets %d users lose roles at once: more are held until a release", safety.MaxRemovals)
	}
	return nil
}
