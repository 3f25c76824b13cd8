package user

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/group"
)

// An evaluation takes the causes that it has seen, and leaves those that came meanwhile.
func TestCausesAreSettledByWhoSawThem(t *testing.T) {
	var kept causes
	jane, john := types.NamespacedName{Name: "jane"}, types.NamespacedName{Name: "john"}
	first, second := []*group.Cause{{Group: "a"}}, []*group.Cause{{Group: "b"}}
	kept.add(jane, first)
	kept.add(john, first)
	seen := kept.known(jane)
	kept.add(jane, second)
	kept.settle(jane, seen)
	if got := kept.known(jane); !slices.Equal(got, second) {
		t.Errorf("%v is left of jane, want the later cause", got)
	}
	if got := kept.known(john); !slices.Equal(got, first) {
		t.Errorf("john has %v", got)
	}
	kept.settle(jane, kept.known(jane))
	kept.settle(john, kept.known(john))
	if len(kept.of) != 0 {
		t.Errorf("%v stays for ever", kept.of)
	}
	for range 3 * maxCauses {
		kept.add(jane, first)
	}
	if got := len(kept.known(jane)); got != maxCauses {
		t.Errorf("%d causes are kept, want %d", got, maxCauses)
	}
}

// An audit line names the requests behind the changes that an evaluation takes into account, and no other.
func TestOrigin(t *testing.T) {
	created := metav1.NewTime(time.Now().Add(-time.Hour))
	user := func(change func(*v1alpha1.User)) *v1alpha1.User {
		modified := metav1.NowMicro()
		user := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: created, Generation: 2}}
		user.Spec.LastRequest, user.Spec.LastModified = "own", &modified
		if change != nil {
			change(user)
		}
		return user
	}
	evaluated := v1alpha1.UserStatus{ObservedGeneration: 1, LastRequest: "earlier"}
	byGroup := []*group.Cause{{Group: "g", Requests: []string{"r1", "r2"}, At: time.Now()}, {Group: "g", Requests: []string{"r2"}, At: time.Now()}}
	for name, test := range map[string]struct {
		user   *v1alpha1.User
		before v1alpha1.UserStatus
		causes []*group.Cause
		want   []string
	}{
		"the user's own change":       {user(nil), evaluated, nil, []string{"own"}},
		"an edit in the cluster":      {user(nil), v1alpha1.UserStatus{ObservedGeneration: 1, LastRequest: "own"}, nil, nil},
		"nothing of the user changed": {user(nil), v1alpha1.UserStatus{ObservedGeneration: 2, LastRequest: "own"}, nil, nil},
		"suspended in the cluster":    {user(func(u *v1alpha1.User) { u.Spec.Suspended = true }), evaluated, nil, nil},
		"put back from a backup": {user(func(u *v1alpha1.User) {
			u.Spec.LastModified = &metav1.MicroTime{Time: created.Add(-time.Hour)}
		}), v1alpha1.UserStatus{}, nil, nil},
		"a group":         {user(nil), v1alpha1.UserStatus{ObservedGeneration: 2, LastRequest: "own"}, byGroup, []string{"r1", "r2"}},
		"both, or either": {user(nil), evaluated, byGroup, []string{"own", "r1", "r2"}},
		"a deletion": {user(func(u *v1alpha1.User) {
			u.DeletionTimestamp = &created
			u.Annotations = map[string]string{v1alpha1.AnnotationDeletedBy: "gone 2026-01-02T03:04:05.6Z"}
		}), v1alpha1.UserStatus{ObservedGeneration: 2, LastRequest: "own"}, nil, []string{"gone"}},
		"a deletion that did not come": {user(func(u *v1alpha1.User) {
			u.Annotations = map[string]string{v1alpha1.AnnotationDeletedBy: "gone 2026-01-02T03:04:05.6Z"}
		}), v1alpha1.UserStatus{ObservedGeneration: 2, LastRequest: "own"}, nil, nil},
	} {
		e := &evaluation{user: test.user, causes: test.causes}
		got := e.report().origin(&test.before)
		if !slices.Equal(got.requests, test.want) {
			t.Errorf("%s: requests %v, want %v", name, got.requests, test.want)
		}
		if len(test.want) > 0 && got.since.IsZero() {
			t.Errorf("%s: the time of the change is missing", name)
		}
	}
}
