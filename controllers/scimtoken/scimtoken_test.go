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
		if got := nextChange(&test.spec, now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestRegistry(t *testing.T) {
	name := func(n string) types.NamespacedName { return types.NamespacedName{Namespace: "ns", Name: n} }
	elsewhere := types.NamespacedName{Namespace: "other", Name: "x"}
	var g registry
	step := func(title string, rival, wantRival types.NamespacedName, touched, wantTouched []types.NamespacedName) {
		t.Helper()
		if rival != wantRival || !slices.Equal(touched, wantTouched) {
			t.Errorf("%s: rival %v, touched %v, want %v, %v", title, rival, touched, wantRival, wantTouched)
		}
	}
	none := types.NamespacedName{}
	rival, touched := g.set(name("a"), "d1", "app")
	step("the first", rival, none, touched, nil)
	rival, touched = g.set(name("b"), "d1", "app")
	step("the same App", rival, none, touched, []types.NamespacedName{name("a")})
	rival, touched = g.set(elsewhere, "d1", "app")
	step("an App of that name in another namespace", rival, name("a"), touched, []types.NamespacedName{name("a"), name("b")})
	rival, touched = g.set(name("a"), "d1", "app")
	step("nothing new", rival, elsewhere, touched, nil)
	rival, touched = g.set(elsewhere, "d2", "app")
	step("another digest", rival, none, touched, []types.NamespacedName{name("a"), name("b")})
	rival, touched = g.set(name("a"), "d1", "app")
	step("alone again", rival, none, touched, nil)
	step("gone", none, none, g.forget(name("a")), []types.NamespacedName{name("b")})
	step("gone twice", none, none, g.forget(name("a")), nil)
}
