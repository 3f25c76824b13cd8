package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// denialTarget is the 99th percentile at most, from the request to the denial: an answer waits for two seconds.
	denialTarget = v1alpha1.DefaultConfirmWithin
	// denialTimeout ends the wait for a denial that does not come.
	denialTimeout = 30 * time.Second
)

// farewell is how one leaver left.
type farewell struct {
	answered, denied time.Duration // since the request
	// early says that the first access review after the answer still allowed something.
	early bool
}

// measureDeactivation deactivates leavers one after the other, as Okta's template apps do, and asks the API server
// after each answer until it denies them what they could do.
func (s *suite) measureDeactivation(ctx context.Context, e *environment, pop *population, size int) error {
	name := benchmarkDeactivate(size)
	leavers := pop.leavers(s.plan.leavers)
	var farewells []farewell
	for i, leaver := range leavers {
		f, err := e.deactivate(ctx, leaver)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", name, leaver.id, err)
		}
		leaver.left = true
		pop.left++
		farewells = append(farewells, f)
		if f.early {
			s.progress.say("%s: %s was answered after %s and denied after %s", name, leaver.id, f.answered, f.denied)
		}
		s.progress.sayOften("%s: %d of %d leavers, the last one denied after %s", name, i+1, len(leavers), f.denied.Round(time.Millisecond))
	}
	s.report.deactivation(name, farewells)
	return nil
}

// leavers picks n active members, spread over the whole population.
func (pop *population) leavers(n int) []*member {
	var active []*member
	for i := range pop.members {
		if !pop.members[i].left {
			active = append(active, &pop.members[i])
		}
	}
	n = min(n, len(active))
	picked := make([]*member, n)
	for i := range picked {
		picked[i] = active[i*len(active)/n]
	}
	return picked
}

func (e *environment) deactivate(ctx context.Context, leaver *member) (farewell, error) {
	ctx, cancel := context.WithTimeout(ctx, denialTimeout)
	defer cancel()
	rights := leaver.rights()
	for _, right := range rights {
		allowed, err := e.allows(ctx, leaver.subject(), right)
		if err != nil {
			return farewell{}, err
		}
		if !allowed {
			return farewell{}, fmt.Errorf("may not %s in %s to begin with", right.Verb, right.Namespace)
		}
	}
	begun := time.Now()
	answer, err := e.scim.do(ctx, http.MethodPatch, userPath(leaver.id), deactivation)
	f := farewell{answered: time.Since(begun)}
	if err != nil {
		return f, err
	}
	if err := answer.expect(http.StatusOK); err != nil {
		return f, err
	}
	for _, right := range rights {
		for {
			allowed, err := e.allows(ctx, leaver.subject(), right)
			if err != nil {
				return f, err
			}
			if !allowed {
				break
			}
			f.early = true
		}
	}
	f.denied = time.Since(begun)
	var user struct {
		Active *bool `json:"active"`
	}
	if err := answer.decode(&user); err != nil {
		return f, err
	}
	if user.Active == nil || *user.Active {
		return f, errors.New("the answer does not say active: false")
	}
	return f, nil
}

// rights are one request that the member's role allows, in each of their scopes.
func (m *member) rights() []authorizationv1.ResourceAttributes {
	verb := "list"
	if m.role == "developer" {
		verb = "create" // no viewer may
	}
	var rights []authorizationv1.ResourceAttributes
	for _, scope := range []struct{ region, namespace string }{{"us1", "team-a"}, {"emea2", "team-b"}} {
		if m.regions == "" || m.regions == scope.region {
			rights = append(rights, authorizationv1.ResourceAttributes{Namespace: scope.namespace, Verb: verb, Resource: "pods"})
		}
	}
	return rights
}

// subject is the name that bindings have for a member.
func (m *member) subject() string { return v1alpha1.DefaultUsernamePrefix + m.userName() }

func (e *environment) allows(ctx context.Context, subject string, right authorizationv1.ResourceAttributes) (bool, error) {
	review, err := e.clientset.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: subject, ResourceAttributes: &right,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}
