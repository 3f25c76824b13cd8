package group

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// Members that are no users are taken out where their deletion was seen since the group was made, or after a day; absence alone
// tells nothing.
func TestSuspects(t *testing.T) {
	begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	group := func(made time.Duration) *v1alpha1.Group {
		return &v1alpha1.Group{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "g", UID: "this", CreationTimestamp: metav1.Time{Time: begin.Add(made)}}}
	}
	user := types.NamespacedName{Namespace: "ns", Name: "u"}
	for title, test := range map[string]struct {
		made time.Duration
		do   func(*suspects)
		// first and later are whether the member is taken out at once, and after the time.
		first, later bool
		after        time.Duration
	}{
		"absent":                             {do: func(*suspects) {}, after: absentFor - time.Second},
		"absent for a day":                   {do: func(*suspects) {}, after: absentFor, later: true},
		"deletion seen":                      {do: func(s *suspects) { s.sawDeletion(user, nil, begin.Add(time.Minute)) }, first: true, later: true, after: time.Second},
		"deleted before the group was there": {made: 2 * time.Minute, do: func(s *suspects) { s.sawDeletion(user, nil, begin.Add(time.Minute)) }, after: time.Hour},
		"deleted as a member of this very group": {made: 2 * time.Minute, do: func(s *suspects) {
			s.sawDeletion(user, []types.UID{"this"}, begin.Add(2*time.Minute))
		}, first: true, later: true, after: time.Second},
		"deleted long ago": {do: func(s *suspects) { s.sawDeletion(user, nil, begin.Add(-time.Hour)) }, after: time.Hour},
		"put back since": {do: func(s *suspects) {
			s.sawDeletion(user, nil, begin.Add(time.Minute))
			s.sawUser(user)
		}, after: time.Hour},
	} {
		var s suspects
		test.do(&s)
		now := begin.Add(3 * time.Minute)
		for i, want := range []bool{test.first, test.later} {
			departed, wait := s.judge(group(test.made), []string{"u"}, now)
			if slices.Contains(departed, "u") != want || (wait > 0) == want {
				t.Errorf("%s, look %d: departed %v, wait %v", title, i, departed, wait)
			}
			now = now.Add(test.after)
		}
	}
}

// However many deletions are seen, a bounded number is remembered.
func TestSuspectsAreBounded(t *testing.T) {
	var s suspects
	now := time.Now()
	for i := range maxDeleted + 10 {
		s.sawDeletion(types.NamespacedName{Namespace: "ns", Name: time.Duration(i).String()}, nil, now)
	}
	if len(s.deleted) != maxDeleted || len(s.order) != maxDeleted {
		t.Errorf("%d remembered, %d in order", len(s.deleted), len(s.order))
	}
	s.sawDeletion(types.NamespacedName{Namespace: "ns", Name: "last"}, nil, now.Add(2*deletedFor))
	if len(s.deleted) != 1 || len(s.order) != 1 {
		t.Errorf("%d remembered after their time", len(s.deleted))
	}
}
