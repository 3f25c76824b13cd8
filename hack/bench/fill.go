package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
)

const (
	// storePrefix is where the API server keeps the operator's objects in etcd.
	storePrefix = "/registry/scim-operator.io/"
	// etcdConcurrency of the writes that fill a directory: etcd waits for the disk once for all that arrive meanwhile.
	etcdConcurrency = 240
	// evaluationEvery is the time between two people's evaluations: an import makes a hundred users a second.
	evaluationEvery = 10 * time.Millisecond
)

// tenant is one App with its client and its people.
type tenant struct {
	app  string
	scim *scimClient
	// newPeople makes its people: kind after kind, in a turn as long as that of its moulds.
	newPeople func(n int) []person
	population
}

// mould is what the store holds of one person after the server created it and the controller gave it its roles: the others
// are cast from it, byte by byte but for what differs from person to person.
type mould struct {
	person
	app, id, uid    string
	claim, claimUID string
	createdAt       string // as JSON has it, also of lastModified
	evaluatedAt     string // as the conditions of the status have it
	user, nameClaim []byte
}

// fill gives an App so many users in all, past the API server: the objects are those that the server and the
// controller write, NameClaims and statuses included, with consecutive times of creation.
func (s *suite) fill(ctx context.Context, e *environment, t *tenant, moulds []*mould, size int) error {
	store, err := newEtcdClient(e.plane.EtcdConfig())
	if err != nil {
		return err
	}
	newcomers := t.newPeople(max(0, size-len(t.members)))
	joined := make([]member, len(newcomers))
	s.progress.say("storing %d users of App %s", len(newcomers), t.app)
	begun := time.Now()
	stored := drive(ctx, len(newcomers), etcdConcurrency, func(ctx context.Context, i int) error {
		p := newcomers[i]
		created, evaluated := begun.Add(time.Duration(i)*time.Millisecond), begun.Add(-time.Duration(i)*evaluationEvery)
		id, err := moulds[i%len(moulds)].cast(ctx, e, store, p, created, evaluated)
		joined[i] = member{person: p, id: id}
		if i > 0 {
			left := time.Duration(float64(time.Since(begun)) / float64(i) * float64(len(newcomers)-i))
			s.progress.sayOften("stored %d of %d users, the rest takes about %s", i, len(newcomers), left.Round(time.Second))
		}
		return err
	})
	if err := firstOf(stored.first, ctx.Err()); err != nil {
		return err
	}
	t.members = append(t.members, joined...)
	return nil
}

// fillAlone stops the server and the controller, once they have made one person of each kind, and gives the App as many users as
// a large one has.
func (s *suite) fillAlone(ctx context.Context, e *environment, t *tenant, kinds int) error {
	moulds, err := s.newMoulds(ctx, e, t, kinds)
	if err != nil {
		return err
	}
	if err := errors.Join(e.stopController(), e.server.Stop()); err != nil {
		return err
	}
	e.server = nil
	if err := e.fast(ctx, func() error { return s.fill(ctx, e, t, moulds, s.plan.large) }); err != nil {
		return err
	}
	return e.waitCached(ctx)
}

// newMoulds lets the server create one person of each kind, and waits for their roles.
func (s *suite) newMoulds(ctx context.Context, e *environment, t *tenant, kinds int) ([]*mould, error) {
	store, err := newEtcdClient(e.plane.EtcdConfig())
	if err != nil {
		return nil, err
	}
	watched, err := watchGrants(ctx, e)
	if err != nil {
		return nil, err
	}
	defer watched.stop()
	before := watched.count()
	var moulds []*mould
	for _, p := range t.newPeople(kinds) {
		body, err := p.body()
		if err != nil {
			return nil, err
		}
		id, err := t.scim.create(ctx, body)
		if err != nil {
			return nil, err
		}
		moulds = append(moulds, &mould{person: p, app: t.app, id: id})
		t.members = append(t.members, member{person: p, id: id})
	}
	if err := watched.wait(ctx, s.progress, before+len(moulds)); err != nil {
		return nil, err
	}
	for _, m := range moulds {
		if err := m.take(ctx, e, store); err != nil {
			return nil, err
		}
	}
	return moulds, nil
}

// take reads the person's objects from the store.
func (m *mould) take(ctx context.Context, e *environment, store *etcdClient) (err error) {
	m.claim = claims.Name(m.app, v1alpha1.ClaimUserName, claims.Key(m.userName()))
	if m.user, err = store.get(ctx, e.userStoreKey(m.id)); err != nil {
		return err
	}
	if m.nameClaim, err = store.get(ctx, e.claimStoreKey(m.claim)); err != nil {
		return err
	}
	var object struct {
		Metadata struct{ UID string }
		Spec     struct {
			CreatedAt, LastModified string
		}
		Status struct {
			Conditions []struct{ LastTransitionTime string }
		}
	}
	if err := json.Unmarshal(m.nameClaim, &object); err != nil {
		return err
	}
	m.claimUID = object.Metadata.UID
	if err := json.Unmarshal(m.user, &object); err != nil {
		return err
	}
	m.uid, m.createdAt = object.Metadata.UID, object.Spec.CreatedAt
	if len(object.Status.Conditions) > 0 {
		m.evaluatedAt = object.Status.Conditions[0].LastTransitionTime
	}
	if m.uid == "" || m.claimUID == "" || m.createdAt == "" || m.evaluatedAt == "" || object.Spec.LastModified != "" {
		return fmt.Errorf("the store holds an unexpected User %s", m.id)
	}
	return nil
}

// cast stores another person and returns their id.
func (m *mould) cast(ctx context.Context, e *environment, store *etcdClient, p person, created, evaluated time.Time) (id string, err error) {
	now := created.UTC().Format(metav1.RFC3339Micro)
	user := strings.NewReplacer(m.number, p.number, m.uid, string(uuid.NewUUID()), m.createdAt, now,
		`"lastTransitionTime":"`+m.evaluatedAt+`"`, `"lastTransitionTime":"`+evaluated.UTC().Format(time.RFC3339)+`"`).Replace(string(m.user))
	id = strings.ReplaceAll(m.id, m.number, p.number)
	if err := store.put(ctx, e.userStoreKey(id), []byte(user)); err != nil {
		return "", err
	}
	claim := claims.Name(m.app, v1alpha1.ClaimUserName, claims.Key(p.userName()))
	nameClaim := strings.NewReplacer(m.number, p.number, m.claimUID, string(uuid.NewUUID()), m.claim, claim).Replace(string(m.nameClaim))
	return id, store.put(ctx, e.claimStoreKey(claim), []byte(nameClaim))
}

func (e *environment) userStoreKey(id string) string {
	return storePrefix + "users/" + e.app.Namespace + "/" + id
}

func (e *environment) claimStoreKey(name string) string {
	return storePrefix + "nameclaims/" + e.app.Namespace + "/" + name
}
