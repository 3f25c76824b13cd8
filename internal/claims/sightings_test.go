package claims

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/go-logr/logr"
	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func sightedClaim(key, holder, version string) *v1alpha1.NameClaim {
	return &v1alpha1.NameClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "wiki", Name: Name("wiki", v1alpha1.ClaimUserName, key), ResourceVersion: version},
		Spec:       v1alpha1.NameClaimSpec{App: "wiki", Attribute: v1alpha1.ClaimUserName, Value: key, Holder: holder},
	}
}

// An event decides for the holder that it names, and only where it is newer than the holder.
func TestSightings(t *testing.T) {
	s := NewSightings(nil, logr.Discard())
	holder := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: "wiki", Name: "jane-1", ResourceVersion: "9"}}
	names := func(key string) bool { return s.Names("wiki", v1alpha1.ClaimUserName, key, holder) }
	check := func(what string, want bool) {
		t.Helper()
		if got := names("jane"); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("nothing was seen", false)
	s.saw(sightedClaim("jane", "jane-1", "10"))
	check("a newer event", true)
	if names("bob") || s.Names("blog", v1alpha1.ClaimUserName, "jane", holder) || s.Names("wiki", v1alpha1.ClaimEmail, "jane", holder) {
		t.Error("the event speaks of another name")
	}
	holder.ResourceVersion = "10"
	check("the same version", false)
	holder.ResourceVersion = "11"
	check("an older event", false)
	holder.ResourceVersion = ""
	check("a holder without a version", false)
	holder.ResourceVersion = "9"
	s.saw(sightedClaim("jane", "jane-2", "12"))
	check("another holder since", false)
	s.saw(sightedClaim("jane", "jane-1", "13"))
	check("its own again", true)
	s.lost(sightedClaim("jane", "jane-1", "14"))
	check("the claim is gone", false)
	s.saw(sightedClaim("jane", "jane-1", "100"))
	s.forget("blog")
	check("a gap elsewhere", true)
	s.forget("wiki")
	check("a gap", false)
	s.saw(sightedClaim("jane", "jane-1", "101"))
	s.forget(metav1.NamespaceAll)
	check("a gap everywhere", false)
	if (*Sightings)(nil).Names("wiki", v1alpha1.ClaimUserName, "jane", holder) || (*Sightings)(nil).Following() {
		t.Error("none have seen something")
	}
}

// Memory is bounded, and what was seen last is there.
func TestSightingsAreBounded(t *testing.T) {
	s := NewSightings(nil, logr.Discard())
	last := 5 * maxSightings / 2
	for i := range last + 1 {
		s.saw(sightedClaim(fmt.Sprint("user", i), fmt.Sprint("user-", i), fmt.Sprint(10+i)))
	}
	if got := len(s.recent) + len(s.former); got > 2*maxSightings {
		t.Errorf("%d claims are remembered", got)
	}
	holder := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: "wiki", Name: fmt.Sprint("user-", last), ResourceVersion: "9"}}
	if !s.Names("wiki", v1alpha1.ClaimUserName, fmt.Sprint("user", last), holder) {
		t.Error("the last claim is forgotten")
	}
	// A claim that went from one half of the memory to the other has one state.
	s.lost(sightedClaim(fmt.Sprint("user", last), holder.Name, "99999999"))
	if s.Names("wiki", v1alpha1.ClaimUserName, fmt.Sprint("user", last), holder) {
		t.Error("a claim that is gone is remembered")
	}
}
