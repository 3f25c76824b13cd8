package oracle

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	platform = `user.department == "Platform"`
	onCall   = `"On call" in groups`
)

var noon = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

var meanings = map[string]Expression{
	platform: func(user *v1alpha1.UserSpec, _ []string) bool {
		return user.Enterprise != nil && user.Enterprise.Department == "Platform"
	},
	onCall: func(_ *v1alpha1.UserSpec, groups []string) bool { return slices.Contains(groups, "On call") },
}

// cluster has one App, with a role for each way of earning one, and jane. She earns none of them and so has the default.
func cluster(change func(c *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User)) *Cluster {
	prefix := "okta:"
	c := &Cluster{
		Namespaces: []corev1.Namespace{namespace("a", "us1"), namespace("b", "emea2"), namespace("directory", "")},
		Apps: []v1alpha1.App{{ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "demo"}, Spec: v1alpha1.AppSpec{
			Kubernetes:     v1alpha1.KubernetesMapping{UsernamePrefix: &prefix},
			RoleAssignment: v1alpha1.RoleAssignment{FromAttributes: []string{"role", "roles"}, Default: []string{"viewer"}},
			Roles: []v1alpha1.Role{
				{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: "view"}}},
				{Name: "admin", When: platform, Groups: []string{"Admins", "00g1"}, Grants: []v1alpha1.Grant{{ClusterRole: "admin"}}},
				{Name: "operator", When: onCall, Scopes: []string{"us1"}, Grants: []v1alpha1.Grant{{Role: "operator"}}},
			},
			Scopes: v1alpha1.Scopes{FromAttribute: "regions", List: []v1alpha1.Scope{
				{Name: "us1", Namespaces: []string{"a", "nowhere"}},
				{Name: "emea2", NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"region": "emea2"}}},
			}},
		}}},
		Users:  []v1alpha1.User{{ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "jane-1"}}},
		Claims: []v1alpha1.NameClaim{claim(v1alpha1.ClaimUserName, "jane", "jane-1")},
	}
	c.Users[0].Spec = v1alpha1.UserSpec{App: "demo", UserName: "Jane", UserNameKey: "jane", Active: true}
	if change != nil {
		change(c, &c.Apps[0].Spec, &c.Users[0])
	}
	return c
}

func namespace(name, region string) corev1.Namespace {
	return corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"region": region}}}
}

func claim(attribute, value, holder string) v1alpha1.NameClaim {
	return v1alpha1.NameClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "directory"},
		Spec: v1alpha1.NameClaimSpec{App: "demo", Attribute: attribute, Value: value, Holder: holder, Touches: 3}}
}

// push adds a group that owns its name.
func push(c *Cluster, name, externalID string, members ...string) *v1alpha1.Group {
	key := strings.ToLower(name)
	c.Groups = append(c.Groups, v1alpha1.Group{ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: key}, Spec: v1alpha1.GroupSpec{
		App: "demo", DisplayName: name, DisplayNameKey: key, ExternalID: externalID, Members: members,
	}})
	c.Claims = append(c.Claims, claim(v1alpha1.ClaimDisplayName, key, key))
	return &c.Groups[len(c.Groups)-1]
}

func attribute(json string) *runtime.RawExtension { return &runtime.RawExtension{Raw: []byte(json)} }

func TestExpect(t *testing.T) {
	view := []string{"okta:Jane ClusterRole/view a", "okta:Jane ClusterRole/view b"}
	admin := []string{"okta:Jane ClusterRole/admin a", "okta:Jane ClusterRole/admin b"}
	for name, test := range map[string]struct {
		change func(c *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User)
		want   []string
	}{
		"default": {nil, view},
		"attribute": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) {
			jane.Spec.Attributes = attribute(`{"Role": "admin"}`)
		}, admin},
		"attribute of an extension": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) {
			jane.Spec.Extensions = attribute(`{"urn:example": {"role": "admin"}}`)
		}, admin},
		"unknown value": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) {
			jane.Spec.Attributes = attribute(`{"role": "ADMIN"}`)
		}, view},
		"roles": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) {
			jane.Spec.Roles = []v1alpha1.MultiValue{{Value: "admin"}, {Value: "viewer"}}
		}, slices.Concat(admin, view)},
		"expression": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) {
			jane.Spec.Enterprise = &v1alpha1.EnterpriseUser{Department: "Platform"}
		}, admin},
		"group, in another case": {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) { push(c, "ADMINS", "", "jane-1") }, admin},
		"group by external id":   {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) { push(c, "Others", "00g1", "jane-1") }, admin},
		"group renamed":          {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) { push(c, "Former admins", "", "jane-1") }, view},
		"group of others":        {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) { push(c, "Admins", "", "jack-1") }, view},
		"group in shards": {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) {
			push(c, "Admins", "").Spec.Sharding = &v1alpha1.Sharding{Epoch: "now"}
			c.Shards = []v1alpha1.MemberShard{{ObjectMeta: metav1.ObjectMeta{Namespace: "directory"},
				Spec: v1alpha1.MemberShardSpec{App: "demo", Group: "admins", Epoch: "now", Members: []string{"jane-1"}}}}
		}, admin},
		"group in former shards": {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) {
			push(c, "Admins", "").Spec.Sharding = &v1alpha1.Sharding{Epoch: "now"}
			c.Shards = []v1alpha1.MemberShard{{ObjectMeta: metav1.ObjectMeta{Namespace: "directory"},
				Spec: v1alpha1.MemberShardSpec{App: "demo", Group: "admins", Epoch: "then", Members: []string{"jane-1"}}}}
		}, view},
		"group without its name": {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) {
			push(c, "Admins", "", "jane-1")
			c.Claims = c.Claims[:1]
		}, view},
		"expression over groups": {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) { push(c, "On call", "", "jane-1") },
			[]string{"okta:Jane Role/operator a"}},
		"groups as subjects": {func(c *Cluster, app *v1alpha1.AppSpec, _ *v1alpha1.User) {
			app.SubjectMode = v1alpha1.SubjectModeGroup
			push(c, "Admins", "", "jane-1")
		}, []string{"Group okta:Admins ClusterRole/admin a", "Group okta:Admins ClusterRole/admin b"}},
		"scope by attribute": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) {
			jane.Spec.Attributes = attribute(`{"regions": " us1 ,mars"}`)
		}, view[:1]},
		"scope by array": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) {
			jane.Spec.Attributes = attribute(`{"regions": ["emea2"]}`)
		}, view[1:]},
		"scopes that there are not": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) {
			jane.Spec.Attributes = attribute(`{"regions": "mars"}`)
		}, nil},
		"no scopes": {func(_ *Cluster, app *v1alpha1.AppSpec, _ *v1alpha1.User) {
			app.Scopes = v1alpha1.Scopes{}
		}, []string{"okta:Jane ClusterRole/view directory"}},
		"whole cluster": {func(_ *Cluster, app *v1alpha1.AppSpec, _ *v1alpha1.User) {
			app.Scopes.List = []v1alpha1.Scope{{Name: "all", ClusterWide: true}}
		}, []string{"okta:Jane ClusterRole/view "}},
		"namespace on its way out": {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) {
			now := metav1.Now()
			c.Namespaces[0].DeletionTimestamp = &now
		}, view[1:]},
		"user name from email": {func(c *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User) {
			app.Kubernetes.UsernameFrom = v1alpha1.IdentifierEmail
			jane.Spec.Emails = []v1alpha1.MultiValue{{Value: "second@x"}, {Value: "J@x", Primary: true}}
			claim := c.Claims[0].DeepCopy()
			claim.Spec.Attribute, claim.Spec.Value, claim.Spec.Holder = "email", "j@x", jane.Name
			c.Claims = append(c.Claims, *claim)
		}, []string{"okta:J@x ClusterRole/view a", "okta:J@x ClusterRole/view b"}},
		"user name from an email of another user": {func(_ *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User) {
			app.Kubernetes.UsernameFrom = v1alpha1.IdentifierEmail
			jane.Spec.Emails = []v1alpha1.MultiValue{{Value: "J@x", Primary: true}}
		}, nil},
		"observed":  {func(_ *Cluster, app *v1alpha1.AppSpec, _ *v1alpha1.User) { app.Mode = v1alpha1.ModeObserve }, nil},
		"inactive":  {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) { jane.Spec.Active = false }, nil},
		"suspended": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) { jane.Spec.Suspended = true }, nil},
		"being deleted": {func(_ *Cluster, _ *v1alpha1.AppSpec, jane *v1alpha1.User) {
			now := metav1.Now()
			jane.DeletionTimestamp = &now
		}, nil},
		"until later": {func(c *Cluster, app *v1alpha1.AppSpec, _ *v1alpha1.User) {
			c.At = noon.Add(-time.Second)
			app.Roles[0].Until = &metav1.Time{Time: noon}
		}, view},
		"until now": {func(c *Cluster, app *v1alpha1.AppSpec, _ *v1alpha1.User) {
			c.At = noon
			app.Roles[0].Until = &metav1.Time{Time: noon}
		}, nil},
		"ended, so that the default is left": {func(c *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User) {
			c.At, app.Roles[1].UntilAttribute = noon, "contractEnd"
			jane.Spec.Attributes = attribute(`{"role": "admin", "contractEnd": "2027-01-31T13:00:00+01:00"}`)
		}, view},
		"ends after that": {func(c *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User) {
			c.At, app.Roles[1].UntilAttribute = noon, "urn:example:contractEnd"
			jane.Spec.Extensions = attribute(`{"urn:example": {"role": "admin", "contractEnd": "2027-02-01"}}`)
		}, admin},
		"an end that is no time": {func(_ *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User) {
			app.Roles[1].UntilAttribute = "contractEnd"
			jane.Spec.Attributes = attribute(`{"role": "admin", "contractEnd": "soon"}`)
		}, nil},
		"without the end": {func(_ *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User) {
			app.Roles[1].UntilAttribute = "contractEnd"
			jane.Spec.Attributes = attribute(`{"role": "admin"}`)
		}, nil},
		"without the end, which is optional": {func(_ *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User) {
			app.Roles[1].UntilAttribute, app.Roles[1].UntilOptional = "contractEnd", true
			jane.Spec.Attributes = attribute(`{"role": "admin"}`)
		}, admin},
		"groups as subjects, with ends of their own": {func(c *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User) {
			app.SubjectMode, app.Roles[1].UntilAttribute = v1alpha1.SubjectModeGroup, "contractEnd"
			c.At, jane.Spec.Attributes = noon, attribute(`{"contractEnd": "2027-02-01"}`)
			push(c, "Admins", "", "jane-1")
		}, admin},
		"unclaimed":   {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) { c.Claims = nil }, nil},
		"App deleted": {func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) { c.Apps = nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			expected, err := cluster(test.change).Expect(meanings)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for access := range expected.Access {
				got = append(got, strings.TrimPrefix(strings.Replace(access.Subject, "Group/", "Group ", 1), "User/")+" "+access.Role+" "+access.Namespace)
			}
			slices.Sort(got)
			want := slices.Clone(test.want)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestExpectRefusesWhatItCannotKnow(t *testing.T) {
	if _, err := cluster(nil).Expect(nil); err == nil || !strings.Contains(err.Error(), "does not say what") {
		t.Errorf("an expression of unknown meaning: %v", err)
	}
	wrong := cluster(func(c *Cluster, _ *v1alpha1.AppSpec, _ *v1alpha1.User) {
		c.Apps[0].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Message: "wrong"}}
	})
	if _, err := wrong.Expect(meanings); err == nil || !strings.Contains(err.Error(), "not Ready: App directory/demo: wrong") {
		t.Errorf("an App that is not Ready: %v", err)
	}
}

func TestDifferencesWhileHeld(t *testing.T) {
	held := func(change func(*Cluster)) *Cluster {
		c := cluster(func(_ *Cluster, app *v1alpha1.AppSpec, jane *v1alpha1.User) {
			app.RoleAssignment.Default, app.Safety = nil, &v1alpha1.Safety{MaxRemovals: 1}
			jane.Status.KubernetesUsername = "okta:Jane"
			jane.Status.Roles = []v1alpha1.EarnedRole{{Role: "viewer", Scope: "us1", Reasons: []string{"held by the App's spec.safety: not earned any more"}}}
		})
		c.AppRoleBindings = []v1alpha1.AppRoleBinding{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "demo-us1"},
			Spec: v1alpha1.AppRoleBindingSpec{App: "demo", RoleRef: v1alpha1.AppRoleRef{Name: "viewer"}, Scope: "us1",
				Subjects: []v1alpha1.AppRoleSubject{{User: "jane-1", Name: "okta:Jane"}}},
		}}
		c.RoleBindings = []rbacv1.RoleBinding{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "scim-x"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: "okta:Jane"}},
		}}
		change(c)
		return c
	}
	for name, test := range map[string]struct {
		change func(c *Cluster)
		people int
		want   []string
	}{
		"held":                              {func(*Cluster) {}, 1, nil},
		"held and not said so":              {func(c *Cluster) { c.Users[0].Status.Roles[0].Reasons = nil }, 0, []string{"the status of", "wrongly, AppRoleBinding", "wrongly, User/okta:Jane"}},
		"held and not bound by it":          {func(c *Cluster) { c.AppRoleBindings = nil }, 1, []string{"no AppRoleBinding"}},
		"held by an App that holds nothing": {func(c *Cluster) { c.Apps[0].Spec.Safety = nil }, 0, []string{"the status of", "wrongly, AppRoleBinding", "wrongly, User/okta:Jane"}},
		"held though deactivated":           {func(c *Cluster) { c.Users[0].Spec.Active = false }, 0, []string{"the status of", "the status of", "wrongly, AppRoleBinding", "wrongly, User/okta:Jane"}},
		"somebody else":                     {func(c *Cluster) { c.RoleBindings[0].Subjects[0].Name = "okta:jack" }, 1, []string{"wrongly, User/okta:jack"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, people, err := held(test.change).DifferencesWhileHeld(meanings)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(test.want) || people != test.people {
				t.Fatalf("got %q and %d people, want %q and %d", got, people, test.want, test.people)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got %q, want %q…", got[i], want)
				}
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	binding := func(namespace, role string, marks map[string]string, names ...string) rbacv1.RoleBinding {
		b := rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "scim-x", Labels: marks},
			RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", Name: role},
		}
		for _, name := range names {
			b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.UserKind, Name: name})
		}
		return b
	}
	marks := map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue, v1alpha1.LabelAppNamespace: "directory"}
	sound := func(change func(*Cluster)) *Cluster {
		c := cluster(nil)
		c.RoleBindings = []rbacv1.RoleBinding{binding("a", "view", marks, "okta:Jane"), binding("b", "view", marks, "okta:Jane")}
		for _, scope := range []string{"us1", "emea2"} {
			c.AppRoleBindings = append(c.AppRoleBindings, v1alpha1.AppRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "demo-" + scope},
				Spec: v1alpha1.AppRoleBindingSpec{App: "demo", RoleRef: v1alpha1.AppRoleRef{Name: "viewer"}, Scope: scope,
					Subjects: []v1alpha1.AppRoleSubject{{User: "jane-1", Name: "okta:Jane"}}},
			})
			c.Users[0].Status.Roles = append(c.Users[0].Status.Roles, v1alpha1.EarnedRole{Role: "viewer", Scope: scope})
		}
		change(c)
		return c
	}
	for name, test := range map[string]struct {
		change func(c *Cluster)
		want   []string
	}{
		"none": {func(*Cluster) {}, nil},
		"too much": {func(c *Cluster) { c.RoleBindings = append(c.RoleBindings, binding("a", "admin", marks, "okta:Jane")) },
			[]string{"wrongly, User/okta:Jane has ClusterRole/admin in namespace a, by a/scim-x"}},
		"a stranger": {func(c *Cluster) { c.RoleBindings[0] = binding("a", "view", marks, "okta:Jane", "eve") },
			[]string{"wrongly, User/eve has ClusterRole/view in namespace a"}},
		"by a binding without marks": {func(c *Cluster) {
			c.RoleBindings = append(c.RoleBindings, binding("a", "admin", nil, "okta:Jane", "bob"))
		},
			[]string{"wrongly, User/okta:Jane has ClusterRole/admin in namespace a"}},
		"in the whole cluster": {func(c *Cluster) {
			c.ClusterRoleBindings = []rbacv1.ClusterRoleBinding{{RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"},
				Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: "okta:Jane"}}}}
		}, []string{"wrongly, User/okta:Jane has ClusterRole/view in the whole cluster"}},
		"too little":        {func(c *Cluster) { c.RoleBindings = c.RoleBindings[:1] }, []string{"missing: User/okta:Jane has ClusterRole/view in namespace b"}},
		"no AppRoleBinding": {func(c *Cluster) { c.AppRoleBindings = c.AppRoleBindings[:1] }, []string{"no AppRoleBinding says that user jane-1"}},
		"twice in AppRoleBindings": {func(c *Cluster) { c.AppRoleBindings = append(c.AppRoleBindings, c.AppRoleBindings[0]) },
			[]string{"twice, AppRoleBinding demo-us1"}},
		"another in an AppRoleBinding": {func(c *Cluster) { c.AppRoleBindings[0].Spec.Subjects[0].Name = "okta:jane" },
			[]string{"no AppRoleBinding says that user jane-1 (okta:Jane)", "wrongly, AppRoleBinding demo-us1 says that user jane-1 (okta:jane)"}},
		"the status": {func(c *Cluster) { c.Users[0].Status.Roles = nil }, []string{"the status of user jane-1 (Jane) lists the roles []"}},
		"gone and not said so": {func(c *Cluster) {
			c.Users[0].Spec.Active, c.Users[0].Status.Roles = false, nil
			c.RoleBindings, c.AppRoleBindings = nil, nil
		}, []string{"the status of user jane-1 (Jane) does not say that their access was revoked"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := sound(test.change).Differences(meanings)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got %q, want %q…", got[i], want)
				}
			}
		})
	}
}
