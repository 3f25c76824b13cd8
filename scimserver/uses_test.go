package scimserver

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestIsUseDue(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		stored *time.Time
		want   bool
	}{
		"never used":    {nil, true},
		"just now":      {new(now), false},
		"a moment ago":  {new(now.Add(-usesApart + time.Second)), false},
		"long ago":      {new(now.Add(-usesApart)), true},
		"in the future": {new(now.Add(time.Hour)), false},
	} {
		token := &v1alpha1.ScimToken{}
		if test.stored != nil {
			token.Status.LastUsedTime = &metav1.Time{Time: *test.stored}
		}
		if got := isUseDue(token, now); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A token of which an attempt was made rests, whatever became of it, and what was noted meanwhile is not lost; one look takes a
// bounded number.
func TestUsesRest(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	u := newTokenUses(nil, nil, logr.Discard())
	u.now = func() time.Time { return now }
	name := types.NamespacedName{Namespace: "directory", Name: "token"}
	used := credential{tokenID: "01234567", tokens: []types.NamespacedName{name}}
	u.note(used)
	u.note(used)
	if got := u.due(); len(got) != 1 {
		t.Fatalf("%d uses are due", len(got))
	}
	if got := u.due(); len(got) != 0 {
		t.Errorf("%d uses are due again", len(got))
	}
	u.rest[usedToken{name, "01234567"}] = now.Add(usesRetry)
	u.note(used)
	if got := u.due(); len(got) != 0 {
		t.Error("a token that rests is due")
	}
	now = now.Add(usesRetry + time.Second)
	if got := u.due(); len(got) != 1 {
		t.Error("what was noted while the token rested is lost")
	}
	for i := range 3 * usesAtOnce {
		u.note(credential{tokenID: "01234567", tokens: []types.NamespacedName{{Name: time.Duration(i).String()}}})
	}
	if got := u.due(); len(got) != usesAtOnce {
		t.Errorf("one look takes %d", len(got))
	}
}

// A use that met another writer's change is due at the next look, and does not replace a later one.
func TestUseIsLeftForTheNextLook(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	u := newTokenUses(nil, nil, logr.Discard())
	u.now = func() time.Time { return now }
	name := types.NamespacedName{Namespace: "directory", Name: "token"}
	used := usedToken{name, "01234567"}
	u.rest[used] = now.Add(usesRetry)
	u.again(used, now.Add(-time.Second))
	if got := u.due(); !got[used].Equal(now.Add(-time.Second)) {
		t.Errorf("due: %v", got)
	}
	u.note(credential{tokenID: "01234567", tokens: []types.NamespacedName{name}})
	u.again(used, now.Add(-time.Second))
	if got := u.due(); !got[used].Equal(now) {
		t.Errorf("due: %v", got)
	}
}
