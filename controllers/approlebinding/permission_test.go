package approlebinding

import (
	"context"
	"errors"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// unanswered is a client that gets no answer to its questions.
type unanswered struct {
	client.Client
	asked int
}

var errUnanswered = errors.New("no answer")

func (u *unanswered) Create(context.Context, client.Object, ...client.CreateOption) error {
	u.asked++
	return errUnanswered
}

// A run for removals asks only where nothing is known that allows: what adds nothing can do with an older answer.
func TestRemovalsDoNotAskForTheRightToBind(t *testing.T) {
	clusterRole, role := rbacv1.RoleRef{Kind: "ClusterRole", Name: "viewer"}, rbacv1.RoleRef{Kind: "Role", Name: "viewer"}
	everywhere, here := permission{ref: clusterRole}, permission{namespace: "team", ref: clusterRole}
	for name, test := range map[string]struct {
		known map[permission]answer
		ref   rbacv1.RoleRef
		asks  bool
	}{
		"an old answer for everywhere": {map[permission]answer{everywhere: {true, time.Now().Add(-time.Minute)}}, clusterRole, false},
		"an old answer for here":       {map[permission]answer{here: {true, time.Now().Add(-time.Minute)}}, clusterRole, false},
		"one for here beside an old refusal for everywhere": {
			map[permission]answer{everywhere: {false, time.Now().Add(-time.Minute)}, here: {true, time.Now().Add(-time.Minute)}}, clusterRole, false,
		},
		"none":                       {nil, clusterRole, true},
		"one that is too old":        {map[permission]answer{everywhere: {true, time.Now().Add(-allowedForRemovals - time.Second)}}, clusterRole, true},
		"an old refusal":             {map[permission]answer{here: {false, time.Now().Add(-time.Minute)}}, clusterRole, true},
		"one for another kind":       {map[permission]answer{everywhere: {true, time.Now().Add(time.Minute)}}, role, true},
		"one for another namespace":  {map[permission]answer{{namespace: "other", ref: role}: {true, time.Now().Add(time.Minute)}}, role, true},
		"a Role's, of the namespace": {map[permission]answer{{namespace: "team", ref: role}: {true, time.Now().Add(-time.Minute)}}, role, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, c := &permissions{known: test.known}, &unanswered{}
			allowed, err := p.mightBind(t.Context(), c, "team", test.ref)
			if asks := c.asked > 0; asks != test.asks || allowed == test.asks || errors.Is(err, errUnanswered) != test.asks {
				t.Errorf("asked %d times, allowed %v, %v", c.asked, allowed, err)
			}
			if !test.asks {
				if _, err := p.mayBind(t.Context(), c, "team", test.ref); !errors.Is(err, errUnanswered) {
					t.Errorf("a run that grants believes an old answer: %v", err)
				}
			}
		})
	}
}
