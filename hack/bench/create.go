package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

const (
	// createTarget is the least part of the bare pair's rate that POST /Users must reach, while the controller runs.
	createTarget = 0.85
	// bareNamespace has the baseline's objects.
	bareNamespace = "bare"
)

// measureCreates compares POST /Users with the bare writes that it cannot do without: the User, then the NameClaim. The controller
// runs, and grants each user a role; it does not serve the namespace that the baseline writes to.
func (s *suite) measureCreates(ctx context.Context, e *environment) error {
	if err := e.stopController(); err != nil {
		return err
	}
	e.controllerArgs = []string{"--watch-namespaces=" + e.app.Namespace}
	if err := e.startController(ctx); err != nil {
		return err
	}
	if s.plan.createInto > 0 {
		if err := s.fillForCreates(ctx, e); err != nil {
			return err
		}
	}
	if err := e.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: bareNamespace}}); err != nil {
		return err
	}
	watched, err := watchGrants(ctx, e)
	if err != nil {
		return err
	}
	defer watched.stop()
	granted := watched.count()
	bound, err := watchBound(ctx, e)
	if err != nil {
		return err
	}
	defer bound.stop()
	pair, err := s.newPairTemplate(ctx, e)
	if err != nil {
		return err
	}
	var posted atomic.Int64
	posted.Store(1) // the template
	sides := []side{
		{name: "POST /Users", prepare: s.postUsers(e, &posted), settle: []func() error{
			func() error { return bound.wait(ctx, int(posted.Load())) },
			func() error { return watched.wait(ctx, s.progress, granted+int(posted.Load())) },
		}},
		{name: "bare User and NameClaim", prepare: s.writePairs(e, pair, true)},
		{name: "bare User alone", prepare: s.writePairs(e, pair, false)},
	}
	for _, concurrency := range s.plan.createConcurrency {
		name := benchmarkCreate(concurrency)
		if !s.wants(name) {
			continue
		}
		// Each worker gets enough to do.
		n := max(s.plan.creates, 2*concurrency)
		results, err := s.alternate(ctx, name, n, concurrency, sides)
		if err != nil {
			return err
		}
		s.report.compare(name, "POST /Users, controller running, to the answers : bare pair", concurrency, results[0], results[1], createTarget)
		s.report.compare(name, "POST /Users, controller running, to the last RoleBinding : bare pair", concurrency, results[0].whenSettled(0), results[1], 0)
		s.report.compare(name, "POST /Users, controller running, to the last status : bare pair", concurrency, results[0].whenSettled(1), results[1], 0)
		s.report.compare(name, "POST /Users, controller running, to the answers : bare single create", concurrency, results[0], results[2], 0)
	}
	s.report.memory(e, "create")
	return nil
}

// fillForCreates gives the App users, and waits until the controller has bound them.
func (s *suite) fillForCreates(ctx context.Context, e *environment) error {
	t := &tenant{app: e.app.Name, scim: e.scim, newPeople: s.newPeople}
	large := s.plan.large
	s.plan.large = s.plan.createInto
	defer func() { s.plan.large = large }()
	if err := s.fillAlone(ctx, e, t, kinds()); err != nil {
		return err
	}
	wanted := 0
	for i := range t.members {
		wanted += len(t.members[i].rights())
	}
	if err := e.startController(ctx); err != nil {
		return err
	}
	if err := e.waitBound(ctx, wanted); err != nil {
		return err
	}
	if err := e.startServer(ctx); err != nil {
		return err
	}
	e.scim.base = e.server.URL + "/scim/v2"
	if err := waitListed(ctx, e.scim, len(t.members)); err != nil {
		return err
	}
	return s.settle(ctx, e)
}

// postUsers counts the users that were created.
func (s *suite) postUsers(e *environment, created *atomic.Int64) func(n int) (operation, error) {
	return func(n int) (operation, error) {
		bodies := make([][]byte, n)
		for i, p := range s.people.take(n) {
			var err error
			if bodies[i], err = p.body(); err != nil {
				return nil, err
			}
		}
		return func(ctx context.Context, i int) error {
			answer, err := e.scim.do(ctx, http.MethodPost, "/Users", bodies[i])
			if err != nil {
				return err
			}
			if err := answer.expect(http.StatusCreated); err != nil {
				return err
			}
			created.Add(1)
			return nil
		}, nil
	}
}

// writePairs is what a create cannot do without, by the same ServiceAccount: with the claim, or the User alone.
func (s *suite) writePairs(e *environment, template *pairTemplate, withClaim bool) func(n int) (operation, error) {
	return func(n int) (operation, error) {
		users := make([]*v1alpha1.User, n)
		nameClaims := make([]*v1alpha1.NameClaim, n)
		for i, p := range s.people.take(n) {
			var err error
			if users[i], nameClaims[i], err = template.forPerson(p); err != nil {
				return nil, err
			}
		}
		return func(ctx context.Context, i int) error {
			if err := e.bare.Create(ctx, users[i]); err != nil || !withClaim {
				return err
			}
			return e.bare.Create(ctx, nameClaims[i])
		}, nil
	}
}

// pairTemplate is what the server wrote for one person: the baseline writes the same for others.
type pairTemplate struct {
	person      person
	user, claim []byte // JSON
}

// newPairTemplate lets the server create a person, and reads what it wrote.
func (s *suite) newPairTemplate(ctx context.Context, e *environment) (*pairTemplate, error) {
	template := &pairTemplate{person: s.people.take(1)[0]}
	body, err := template.person.body()
	if err != nil {
		return nil, err
	}
	id, err := e.scim.create(ctx, body)
	if err != nil {
		return nil, err
	}
	user := &v1alpha1.User{}
	if err := e.admin.Get(ctx, e.key(id), user); err != nil {
		return nil, fmt.Errorf("reading what a create wrote: %w", err)
	}
	claim := &v1alpha1.NameClaim{}
	key := e.key(claims.Name(e.app.Name, v1alpha1.ClaimUserName, user.Spec.UserNameKey))
	if err := e.admin.Get(ctx, key, claim); err != nil {
		return nil, fmt.Errorf("reading what a create wrote: %w", err)
	}
	user.ObjectMeta, user.Status = asSent(user.ObjectMeta), v1alpha1.UserStatus{}
	claim.ObjectMeta = asSent(claim.ObjectMeta)
	user.Namespace, claim.Namespace = bareNamespace, bareNamespace
	if template.user, err = json.Marshal(user); err != nil {
		return nil, err
	}
	template.claim, err = json.Marshal(claim)
	return template, err
}

// asSent leaves what a client sends in a create.
func asSent(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name,
		Labels: m.Labels, Annotations: m.Annotations, Finalizers: m.Finalizers,
	}
}

// forPerson writes another person's number wherever the template's stands.
func (t *pairTemplate) forPerson(p person) (*v1alpha1.User, *v1alpha1.NameClaim, error) {
	user, claim := &v1alpha1.User{}, &v1alpha1.NameClaim{}
	for _, part := range []struct {
		template []byte
		object   client.Object
	}{{t.user, user}, {t.claim, claim}} {
		text := strings.ReplaceAll(string(part.template), t.person.number, p.number)
		if err := json.Unmarshal([]byte(text), part.object); err != nil {
			return nil, nil, fmt.Errorf("making the baseline's objects: %w", err)
		}
	}
	// The claim's name is a hash, in which no number stands.
	claim.Name = claims.Name(claim.Spec.App, claim.Spec.Attribute, claim.Spec.Value)
	return user, claim, nil
}
