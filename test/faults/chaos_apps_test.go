package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/oracle"
)

// meanings of the expressions that the Apps use.
var meanings = map[string]oracle.Expression{
	`user.department == "Platform"`: func(user *v1alpha1.UserSpec, _ []string) bool {
		return user.Enterprise != nil && user.Enterprise.Department == "Platform"
	},
	`user.department == "Platform" && "Owners" in groups`: func(user *v1alpha1.UserSpec, groups []string) bool {
		return user.Enterprise != nil && user.Enterprise.Department == "Platform" && slices.Contains(groups, "Owners")
	},
	`user.title.startsWith("Lead")`: func(user *v1alpha1.UserSpec, _ []string) bool {
		return strings.HasPrefix(user.Title, "Lead")
	},
	`user.userName.contains(".as.")`: func(user *v1alpha1.UserSpec, _ []string) bool {
		return strings.Contains(user.UserName, ".as.")
	},
	`"On call" in groups`:  func(_ *v1alpha1.UserSpec, groups []string) bool { return slices.Contains(groups, "On call") },
	`!("Crowd" in groups)`: func(_ *v1alpha1.UserSpec, groups []string) bool { return !slices.Contains(groups, "Crowd") },
}

// shape is what an App's author can turn: each edit turns one thing, and every shape that is not broken is a sound App.
type shape struct {
	// kind is what sort of App it is.
	kind       kind
	namespaces []string

	absent       map[string]bool // roles that are left out
	whens        map[string]string
	everyGrant   bool
	writerScopes []string
	regionOfAll  bool // the selector of emea2 is wider
	noScopes     bool
	fewDefaults  bool
	noDefaults   bool
	observe      bool
	nameFrom     string // usernameFrom
	byGroups     bool
	groupsBound  bool
	broken       bool
}

// kind of an App.
type kind int

const (
	// large has scopes and most of the people, small is deleted and made again while its people stay.
	large kind = iota
	small
	// guarded holds bulk loss of roles, passing is deleted with its people.
	guarded
	passing
)

func firstShape(kind kind, namespaces []string) shape {
	return shape{kind: kind, namespaces: namespaces, absent: map[string]bool{}, whens: map[string]string{
		"owner": `user.department == "Platform"`, "deployer": `user.title.startsWith("Lead")`,
	}, byGroups: true, nameFrom: v1alpha1.IdentifierUserName}
}

// turn changes one thing and says what.
func (s *shape) turn(random *rand.Rand) string {
	flip := func(switched *bool, name string) string {
		*switched = !*switched
		return fmt.Sprintf("%s %t", name, *switched)
	}
	// What a person of limited means earns by it must not be the strongest role.
	choices := map[string][]string{
		"owner":    {`user.department == "Platform"`, `user.department == "Platform" && "Owners" in groups`, ""},
		"deployer": {`user.title.startsWith("Lead")`, `"On call" in groups`, `!("Crowd" in groups)`, ""},
		"writer":   {`user.userName.contains(".as.")`, `user.department == "Platform"`, ""},
	}
	if (s.observe || s.noScopes) && random.IntN(2) == 0 {
		s.observe, s.noScopes = false, false // else there would be little to go wrong half of the time
		return "enforce in scopes"
	}
	choice := random.IntN(14)
	if s.kind == guarded && (choice == 9 || choice == 12) {
		choice = 10 // nothing is bound, or groups are: the guard does not count what users lose
	}
	switch choice {
	case 0, 1:
		role := []string{"reader", "writer", "owner", "auditor", "deployer", "crowd"}[random.IntN(6)]
		s.absent[role] = !s.absent[role] && random.IntN(2) == 0
		return fmt.Sprintf("role %s absent %t", role, s.absent[role])
	case 2, 3:
		role := []string{"owner", "deployer", "writer"}[random.IntN(3)]
		s.whens[role] = choices[role][random.IntN(len(choices[role]))]
		return fmt.Sprintf("role %s when %s", role, s.whens[role])
	case 4:
		s.writerScopes = [][]string{nil, {"us1"}, {"us1", "emea2"}, {"apac", "everywhere"}}[random.IntN(4)]
		return fmt.Sprintf("scopes of writer %q", s.writerScopes)
	case 5:
		return flip(&s.regionOfAll, "wide selector")
	case 6:
		return flip(&s.noScopes, "no scopes")
	case 7:
		return flip(&s.fewDefaults, "other default role")
	case 8:
		return flip(&s.noDefaults, "no default role")
	case 9:
		return flip(&s.observe, "observe")
	case 10:
		s.nameFrom = []string{v1alpha1.IdentifierUserName, v1alpha1.IdentifierEmail, v1alpha1.IdentifierExternalID}[random.IntN(3)]
		return "user name from " + s.nameFrom
	case 11:
		return flip(&s.byGroups, "roles by groups")
	case 12:
		return flip(&s.groupsBound, "groups bound")
	default:
		return flip(&s.everyGrant, "more grants")
	}
}

// write makes the specification of the shape. The App's name and prefix stay.
func (s *shape) write(spec *v1alpha1.AppSpec) {
	spec.Attributes = []v1alpha1.CustomAttribute{{Name: "role"}, {Name: "regions"}}
	spec.Deactivation.ConfirmWithin = &metav1.Duration{Duration: 300 * time.Millisecond}
	spec.Mode = v1alpha1.ModeEnforce
	if s.observe {
		spec.Mode = v1alpha1.ModeObserve
	}
	spec.Kubernetes.UsernameFrom = s.nameFrom
	if s.kind == guarded {
		spec.Safety = &v1alpha1.Safety{MaxRemovals: mostRemovals, Window: &metav1.Duration{Duration: 24 * time.Hour}}
	}
	if s.kind == passing {
		spec.DeletionPolicy = v1alpha1.DeletionPolicyDelete
	}
	spec.SubjectMode = v1alpha1.SubjectModeUsers
	if s.groupsBound {
		spec.SubjectMode = v1alpha1.SubjectModeGroup
	}
	spec.Scopes = s.scopes()
	spec.Attributes = []v1alpha1.CustomAttribute{{Name: "regions"}}
	spec.Roles = s.roles(spec.Scopes.List)
	spec.RoleAssignment = v1alpha1.RoleAssignment{FromAttributes: []string{"role", "roles"}}
	preferred := "reader"
	if s.fewDefaults {
		preferred = "crowd"
	}
	if !s.absent[preferred] && !s.noDefaults {
		spec.RoleAssignment.Default = []string{preferred}
	}
	if s.broken {
		spec.RoleAssignment.Default = []string{"no such role"}
	}
}

func (s *shape) scopes() v1alpha1.Scopes {
	if s.kind != large || s.noScopes {
		return v1alpha1.Scopes{}
	}
	emea := &metav1.LabelSelector{MatchLabels: map[string]string{"chaos": s.namespaces[0], "region": "emea2"}}
	if s.regionOfAll {
		emea = &metav1.LabelSelector{MatchLabels: map[string]string{"chaos": s.namespaces[0]}}
	}
	return v1alpha1.Scopes{FromAttribute: "regions", List: []v1alpha1.Scope{
		{Name: "us1", Namespaces: s.namespaces[:2]},
		{Name: "emea2", NamespaceSelector: emea},
		{Name: "apac", NamespaceSelector: &metav1.LabelSelector{
			MatchLabels:      map[string]string{"chaos": s.namespaces[0]},
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpIn, Values: []string{"gold", "silver"}}},
		}},
		{Name: "everywhere", ClusterWide: true},
	}}
}

func (s *shape) roles(scopes []v1alpha1.Scope) []v1alpha1.Role {
	within := func(names ...string) []string {
		if len(scopes) == 0 {
			return nil
		}
		return names
	}
	all := []v1alpha1.Role{
		{Name: "reader", Scopes: within("us1", "emea2", "apac"), Grants: []v1alpha1.Grant{{ClusterRole: "chaos-reader"}}},
		{Name: "writer", Scopes: within(s.writerScopes...), Groups: []string{"Writers", "00g-writers"}, Grants: []v1alpha1.Grant{{ClusterRole: "chaos-writer"}}},
		{Name: "owner", Scopes: within("us1", "emea2"), Groups: []string{"owners", "00g-owners"}, Grants: []v1alpha1.Grant{{ClusterRole: strongest}}},
		{Name: "auditor", Scopes: within("everywhere"), Grants: []v1alpha1.Grant{{ClusterRole: "chaos-auditor"}}},
		{Name: "deployer", Scopes: within("us1", "apac"), Grants: []v1alpha1.Grant{{Role: "chaos-deployer"}}},
		{Name: "crowd", Scopes: within("apac"), Groups: []string{"Crowd"}, Grants: []v1alpha1.Grant{{ClusterRole: "chaos-reader"}}},
	}
	var roles []v1alpha1.Role
	for _, role := range all {
		if s.absent[role.Name] {
			continue
		}
		role.When = s.whens[role.Name]
		if !s.byGroups {
			role.Groups = nil
		}
		if s.everyGrant && role.Name == "writer" {
			role.Grants = append(role.Grants, v1alpha1.Grant{ClusterRole: "chaos-reader"})
		}
		roles = append(roles, role)
	}
	return roles
}

// editApps turns Apps, breaks and mends them, and deletes one of them now and then, until ctx ends. The one that goes with its
// people is left alone.
func (c *chaos) editApps(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		app := c.apps[random.IntN(int(passing))]
		what := c.edits.draw(random)
		if what == "App deleted" {
			app = c.apps[1]
		}
		switch {
		case what == "App deleted":
			c.note("App %s: deleted", app.Name)
			c.deleteApp(app)
			c.count("App deleted")
		case app.shape.broken || what == "App broken":
			app.shape.broken = !app.shape.broken
			c.note("App %s: broken %t", app.Name, app.shape.broken)
			c.reshape(c.t.Context(), app)
			c.count("App broken")
		default:
			c.note("App %s: %s", app.Name, app.shape.turn(random))
			c.reshape(c.t.Context(), app)
			c.count("App edited")
		}
		pause(ctx, between(random, 50*time.Millisecond, 1500*time.Millisecond))
	}
}

// reshape gives an App the shape that it should have now.
func (c *chaos) reshape(ctx context.Context, app *chaosApp) {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		object := &v1alpha1.App{}
		if err := c.client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object); err != nil {
			return err
		}
		app.shape.write(&object.Spec)
		return c.client.Update(ctx, object)
	})
	if err != nil {
		c.t.Errorf("editing App %s: %v", app.Name, err)
	}
}

// passApps deletes the App together with its users, and makes it again, until ctx ends.
func (c *chaos) passApps(ctx context.Context, random *rand.Rand) {
	for {
		pause(ctx, between(random, time.Second, 6*time.Second))
		if ctx.Err() != nil {
			return
		}
		c.deleteApp(c.apps[passing])
		c.count("App deleted with its people")
	}
}

// deleteApp deletes an App and creates it again. Its people stay, and get back what they earn, unless they go with it: then
// nothing of them is left by the time that the App is gone.
func (c *chaos) deleteApp(app *chaosApp) {
	ctx := c.t.Context()
	app.open.Lock()
	defer app.open.Unlock()
	key := client.ObjectKey{Namespace: app.Namespace, Name: app.Name}
	object := &v1alpha1.App{}
	if err := c.client.Get(ctx, key, object); err != nil {
		c.t.Errorf("reading App %s: %v", app.Name, err)
		return
	}
	again := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Name}, Spec: *object.Spec.DeepCopy()}
	if err := c.client.Delete(ctx, object); err != nil {
		c.t.Errorf("deleting App %s: %v", app.Name, err)
		return
	}
	if err := eventually(ctx, succession, func() error {
		err := c.client.Get(ctx, key, object)
		if err == nil {
			err = fmt.Errorf("it is still there: %+v", object.Status.Conditions)
		}
		return client.IgnoreNotFound(err)
	}); err != nil {
		c.t.Errorf("App %s was not deleted: %v", app.Name, err)
		return
	}
	if app.shape.kind == passing {
		c.findNothingOf(app)
	}
	// A server that has not seen the App go would answer for the former one, and refuse every request a moment later.
	for _, scim := range app.clients {
		if err := eventually(ctx, recovery, func() error {
			_, err := scim.TestConnection(ctx, false)
			switch {
			case err == nil:
				return errors.New("it is served yet")
			case strings.Contains(err.Error(), "does not exist"), strings.Contains(err.Error(), "no ScimToken that its App accepts"):
				return nil
			}
			return err
		}); err != nil {
			c.t.Errorf("App %s is gone: %v", app.Name, err)
		}
	}
	if err := eventually(ctx, recovery, func() error { return c.client.Create(ctx, again.DeepCopy()) }); err != nil {
		c.t.Errorf("App %s could not be created again: %v", app.Name, err)
		return
	}
	for _, scim := range app.clients {
		if err := eventually(ctx, succession, func() error { _, err := scim.TestConnection(ctx, false); return err }); err != nil {
			c.t.Errorf("App %s is not served again: %v", app.Name, err)
		}
	}
}

// findNothingOf fails where an App that is gone has left something that was to go with it.
func (c *chaos) findNothingOf(app *chaosApp) {
	of := func(name string) bool { return name == app.Name }
	for _, list := range []client.ObjectList{
		&v1alpha1.UserList{}, &v1alpha1.GroupList{}, &v1alpha1.MemberShardList{}, &v1alpha1.NameClaimList{}, &v1alpha1.AppRoleBindingList{},
		&rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleBindingList{},
	} {
		if err := c.client.List(c.t.Context(), list); err != nil {
			c.t.Error(err)
			return
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			left := false
			switch object := item.(type) {
			case *v1alpha1.User:
				left = of(object.Spec.App)
			case *v1alpha1.Group:
				left = of(object.Spec.App)
			case *v1alpha1.MemberShard:
				left = of(object.Spec.App)
			case *v1alpha1.NameClaim:
				left = of(object.Spec.App)
			case *v1alpha1.AppRoleBinding:
				left = of(object.Spec.App)
			case *rbacv1.RoleBinding:
				left = slices.ContainsFunc(object.Subjects, func(s rbacv1.Subject) bool { return strings.HasPrefix(s.Name, app.Prefix) })
			case *rbacv1.ClusterRoleBinding:
				left = slices.ContainsFunc(object.Subjects, func(s rbacv1.Subject) bool { return strings.HasPrefix(s.Name, app.Prefix) })
			}
			if left {
				c.t.Errorf("App %s is gone and left %s", app.Name, keyOf(item.(client.Object)))
			}
			return nil
		})
		if err != nil {
			c.t.Error(err)
		}
	}
}

// eventually is harness.Eventually for other goroutines than the test's own, which must not end it.
func eventually(ctx context.Context, limit time.Duration, action func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := action()
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
}
