package app

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func gaining(generation int64, change func(*v1alpha1.AppSpec)) *v1alpha1.App {
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "one", UID: "u", Generation: generation}}
	app.Spec = v1alpha1.AppSpec{
		Tokens: []v1alpha1.AcceptedToken{{Name: "old", Digest: "x"}},
		Roles:  []v1alpha1.Role{{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: "view"}}}},
		Scopes: v1alpha1.Scopes{List: []v1alpha1.Scope{{Name: "here", Namespaces: []string{"a"}}}},
	}
	if change != nil {
		change(&app.Spec)
	}
	return app
}

func TestGains(t *testing.T) {
	admin := v1alpha1.Role{Name: "admin", Grants: []v1alpha1.Grant{{ClusterRole: "admin"}, {Role: "owner"}}}
	for name, test := range map[string]struct {
		before, after  func(*v1alpha1.AppSpec)
		tokens, grants []string
	}{
		"nothing": {nil, nil, nil, nil},
		"a role": {
			nil, func(s *v1alpha1.AppSpec) { s.Roles = append(s.Roles, admin) },
			[]string{"old"}, []string{"ClusterRole admin in namespace a", "Role owner in namespace a"},
		},
		"a role less": {func(s *v1alpha1.AppSpec) { s.Roles = append(s.Roles, admin) }, nil, nil, nil},
		"a namespace": {
			nil, func(s *v1alpha1.AppSpec) { s.Scopes.List[0].Namespaces = []string{"a", "b"} },
			[]string{"old"}, []string{"ClusterRole view in namespace b"},
		},
		"the cluster": {
			nil, func(s *v1alpha1.AppSpec) { s.Scopes.List[0] = v1alpha1.Scope{Name: "here", ClusterWide: true} },
			[]string{"old"}, []string{"ClusterRole view in the whole cluster"},
		},
		"the mode": {
			func(s *v1alpha1.AppSpec) { s.Mode = v1alpha1.ModeObserve }, nil,
			[]string{"old"}, []string{"ClusterRole view in namespace a"},
		},
		"while it observes": {
			func(s *v1alpha1.AppSpec) { s.Mode = v1alpha1.ModeObserve },
			func(s *v1alpha1.AppSpec) { s.Mode, s.Roles = v1alpha1.ModeObserve, append(s.Roles, admin) }, nil, nil,
		},
		"no scope but the App's own": {
			func(s *v1alpha1.AppSpec) { s.Scopes.List, s.Roles = nil, nil }, func(s *v1alpha1.AppSpec) { s.Scopes.List = nil },
			[]string{"old"}, []string{"ClusterRole view in namespace a"},
		},
		"a token of the same edit": {
			func(s *v1alpha1.AppSpec) { s.Tokens = nil }, func(s *v1alpha1.AppSpec) { s.Roles = append(s.Roles, admin) }, nil, nil,
		},
		"another digest by the same edit": {
			nil, func(s *v1alpha1.AppSpec) { s.Tokens[0].Digest, s.Roles = "y", append(s.Roles, admin) }, nil, nil,
		},
		"a role beside its scopes": {
			func(s *v1alpha1.AppSpec) { s.Roles[0].Scopes = []string{"here"} },
			func(s *v1alpha1.AppSpec) {
				s.Roles[0].Scopes = []string{"here"}
				s.Scopes.List = append(s.Scopes.List, v1alpha1.Scope{Name: "there", Namespaces: []string{"b"}})
			}, nil, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var g gains
			before, after := gaining(1, test.before), gaining(2, test.after)
			g.note(before, after)
			tokens, grants := g.take(after)
			if !slices.Equal(tokens, test.tokens) || len(tokens) > 0 && !slices.Equal(grants, test.grants) {
				t.Errorf("%v gain %v, want %v and %v", tokens, grants, test.tokens, test.grants)
			}
			if tokens, _ := g.take(after); tokens != nil {
				t.Error("told twice")
			}
		})
	}
}

// What another edit has taken back by the time it is told is not told.
func TestGainsAreTrueWhenTold(t *testing.T) {
	var g gains
	wide := func(s *v1alpha1.AppSpec) { s.Roles[0].Grants[0].ClusterRole = "admin" }
	g.note(gaining(1, nil), gaining(2, wide))
	if _, grants := g.take(gaining(3, nil)); grants != nil {
		t.Errorf("told %v, which the App does not grant", grants)
	}
	g.note(gaining(1, nil), gaining(2, wide))
	if tokens, _ := g.take(gaining(3, func(s *v1alpha1.AppSpec) { wide(s); s.Tokens = nil })); tokens != nil {
		t.Errorf("told %v, which the App does not accept", tokens)
	}
	g.note(gaining(1, nil), gaining(2, wide))
	g.note(gaining(2, wide), gaining(3, func(s *v1alpha1.AppSpec) { wide(s); s.Scopes.List[0].Namespaces = []string{"a", "b"} }))
	_, grants := g.take(gaining(3, func(s *v1alpha1.AppSpec) { wide(s); s.Scopes.List[0].Namespaces = []string{"a", "b"} }))
	if want := []string{"ClusterRole admin in namespace a", "ClusterRole admin in namespace b"}; !slices.Equal(grants, want) {
		t.Errorf("two edits: %v, want %v", grants, want)
	}
	again := gaining(2, wide)
	again.UID = "another"
	g.note(gaining(1, nil), again)
	if tokens, _ := g.take(again); tokens != nil {
		t.Error("another App of the name counts as an edit")
	}
}

// Tokens of the issuer that an App named before, and names still, gain what an edit grants, too.
func TestGainsOfAnIssuer(t *testing.T) {
	before := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", UID: "one", Generation: 1}}
	before.Spec.OIDC = &v1alpha1.ForeignIssuer{Issuer: "https://login.example.com"}
	after := before.DeepCopy()
	after.Generation = 2
	after.Spec.Roles = []v1alpha1.Role{{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: "view"}}}}
	told := func(before, after *v1alpha1.App) string {
		var known gains
		known.note(before, after)
		tokens, grants := known.take(after)
		return strings.Join(tokens, ",") + " " + strings.Join(grants, ",")
	}
	if got := told(before, after); !strings.HasPrefix(got, ofIssuer) || !strings.Contains(got, "view") {
		t.Errorf("told %q", got)
	}
	another := after.DeepCopy()
	another.Spec.OIDC.Issuer = "https://other.example.com"
	if got := told(before, another); got != " " {
		t.Errorf("of another issuer: %q", got)
	}
}

// So do the OAuth clients that the App had before, and has still.
func TestGainsOfOAuthClients(t *testing.T) {
	for name, test := range map[string]struct {
		before, after *v1alpha1.OAuth
		want          bool
	}{
		"the same client":    {&v1alpha1.OAuth{ClientID: "okta"}, &v1alpha1.OAuth{ClientID: "okta"}, true},
		"another client":     {&v1alpha1.OAuth{ClientID: "okta"}, &v1alpha1.OAuth{ClientID: "other"}, false},
		"none before":        {nil, &v1alpha1.OAuth{ClientID: "okta"}, false},
		"none after":         {&v1alpha1.OAuth{ClientID: "okta"}, nil, false},
		"a machine's key":    {machinesOf("hr", "one"), machinesOf("hr", "two", "one"), true},
		"another key":        {machinesOf("hr", "one"), machinesOf("hr", "two"), false},
		"another machine":    {machinesOf("hr", "one"), machinesOf("erp", "one"), false},
		"in another's place": {machinesOf("hr", "one"), &v1alpha1.OAuth{ClientID: "okta"}, false},
	} {
		before := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", UID: "one", Generation: 1}}
		after := before.DeepCopy()
		before.Spec.OAuth, after.Spec.OAuth, after.Generation = test.before, test.after, 2
		after.Spec.Roles = []v1alpha1.Role{{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: "view"}}}}
		var known gains
		known.note(before, after)
		tokens, grants := known.take(after)
		if got := len(tokens) == 1 && tokens[0] == ofClients && len(grants) == 1; got != test.want {
			t.Errorf("%s: told %v, %v", name, tokens, grants)
		}
	}
}

func machinesOf(clientID string, keys ...string) *v1alpha1.OAuth {
	return &v1alpha1.OAuth{MachineClients: []v1alpha1.MachineClient{{ClientID: clientID, Keys: keys}}}
}
