package scimtoken

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestNextChange(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		spec v1alpha1.ScimTokenSpec
		want time.Duration
	}{
		"for ever":                {want: 0},
		"begins":                  {v1alpha1.ScimTokenSpec{NotBefore: at(time.Hour)}, time.Hour},
		"began":                   {v1alpha1.ScimTokenSpec{NotBefore: at(-time.Hour)}, 0},
		"expires far away":        {v1alpha1.ScimTokenSpec{ExpiresAt: at(40 * day)}, 10 * day},
		"expires soon":            {v1alpha1.ScimTokenSpec{ExpiresAt: at(10 * day)}, 10 * day},
		"expired":                 {v1alpha1.ScimTokenSpec{ExpiresAt: at(-day)}, 0},
		"begins before it is due": {v1alpha1.ScimTokenSpec{NotBefore: at(20 * day), ExpiresAt: at(40 * day)}, 10 * day},
	} {
		if got := nextChange(&v1alpha1.ScimToken{Spec: test.spec}, now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestRegistry(t *testing.T) {
	name := func(n string) types.NamespacedName { return types.NamespacedName{Namespace: "ns", Name: n} }
	old, young := time.Unix(1, 0), time.Unix(2, 0)
	var g registry
	set := func(n, digest, app string, published bool, created time.Time) (before []string) {
		mine := claim{digest: digest, app: name(app), published: published, created: created}
		for _, rival := range g.set(name(n), mine) {
			if rival.precedes(mine) {
				before = append(before, rival.app.Name)
			}
		}
		return before
	}
	step := func(title string, got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: preceded by %v, want %v", title, got, want)
		}
	}
	step("the first", set("a", "d1", "one", false, young), nil)
	g.publish(name("a"))
	step("the same App", set("b", "d1", "one", false, old), nil)
	step("an older token of another App", set("x", "d1", "two", false, old), []string{"one", "one"})
	step("the one that works, looked at again", set("a", "d1", "one", true, young), nil)
	step("two that are published: the younger one", set("a", "d1", "one", true, young), nil)
	step("two that are published: the older one", set("x", "d1", "two", true, old), nil)
	step("two that are published: the younger one again", set("a", "d1", "one", true, young), []string{"two"})
	if got, want := g.claimants(name("a"), "d1"), []types.NamespacedName{name("b"), name("x")}; !slices.Equal(got, want) {
		t.Errorf("claimants: %v, want %v", got, want)
	}
	step("none has it: the younger one", set("y", "d3", "two", false, young), nil)
	step("none has it: the older one", set("z", "d3", "one", false, old), nil)
	step("none has it: the younger one again", set("y", "d3", "two", false, young), []string{"one"})
	step("another digest", set("x", "d2", "two", false, old), nil)
	step("alone again", set("a", "d1", "one", false, young), nil)
	if got, want := g.forget(name("a")), []types.NamespacedName{name("b")}; !slices.Equal(got, want) {
		t.Errorf("forget touches %v, want %v", got, want)
	}
	if got := g.forget(name("a")); got != nil {
		t.Errorf("gone twice touches %v", got)
	}
}
