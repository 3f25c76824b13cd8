package oauth

import (
	"errors"
	"fmt"
	"math/rand"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// newest is the grant of a machine client that the API server made at a moment.
func newest(app *v1alpha1.App, shown *assertion, created time.Time, uid string) *v1alpha1.OAuthGrant {
	grant := machineGrant(app, shown)
	grant.CreationTimestamp, grant.UID = metav1.NewTime(created.Truncate(time.Second)), types.UID(uid)
	return grant
}

// used is an assertion that a client signed at a moment, valid for a minute.
func used(id string, signed time.Time) *assertion {
	return &assertion{clientID: "hr", key: "key", id: id, issued: signed, until: signed.Add(time.Minute + clockSkew + replicaSkew)}
}

// A grant that is deleted, or put back without its status, takes nothing with it: replicas that saw it refuse what it held.
func TestAssertionsOutliveTheirGrant(t *testing.T) {
	app := appWith("other", "key")
	for name, again := range map[string]func(s *Server, before *v1alpha1.OAuthGrant, now time.Time) *v1alpha1.OAuthGrant{
		"deleted and made anew": func(s *Server, before *v1alpha1.OAuthGrant, now time.Time) *v1alpha1.OAuthGrant {
			s.options.Spent.Observe(before, nil)
			after := newest(app, used("", now), now, "2")
			s.options.Spent.Observe(nil, after)
			return after
		},
		"made anew while the watch was away": func(s *Server, before *v1alpha1.OAuthGrant, now time.Time) *v1alpha1.OAuthGrant {
			after := newest(app, used("", now), now, "2")
			s.options.Spent.Observe(before, after)
			return after
		},
		"the same, as it was before": func(s *Server, before *v1alpha1.OAuthGrant, _ time.Time) *v1alpha1.OAuthGrant {
			after := before.DeepCopy()
			after.Status.Assertions = nil
			s.options.Spent.Observe(before, after)
			return after
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon
			s := at(&now)
			shown := used("1", now)
			grant := newest(app, shown, now.Add(-24*time.Hour), "1")
			s.options.Spent.Observe(nil, grant.DeepCopy())
			if err := s.record(app, grant, shown, nil); err != nil {
				t.Fatal(err)
			}
			s.options.Spent.Observe(nil, grant)
			now = now.Add(2 * time.Second)
			after := again(s, grant, now)
			if err := s.record(app, after.DeepCopy(), shown, nil); !errors.Is(err, errReplayed) || !s.options.Spent.has(shown.spender(app), token.Digest("1")) {
				t.Errorf("a second time: %v", err)
			}
			if err := s.record(app, after, used("2", now), nil); err != nil || len(after.Status.Assertions) != 2 {
				t.Errorf("another one: %v, %+v", err, after.Status.Assertions)
			}
			if name != "the same, as it was before" {
				if err := s.record(app, after.DeepCopy(), used("3", now.Add(-time.Minute)), nil); !errors.Is(err, errTooOld) {
					t.Errorf("one that the former grant may have held unseen: %v", err)
				}
			}
			// A replica that starts now reads of both in the grant.
			fresh := at(&now)
			fresh.options.Spent.Begin()
			fresh.options.Spent.Observe(nil, after)
			if err := fresh.record(app, after.DeepCopy(), shown, nil); !errors.Is(err, errReplayed) {
				t.Errorf("at a replica that has just started: %v", err)
			}
			now = now.Add(time.Hour)
			s.options.Spent.prune()
			if s.options.Spent.has(shown.spender(app), token.Digest("1")) || len(s.options.Spent.lost) != 0 || len(s.options.Spent.gone) != 0 {
				t.Error("what has expired is remembered")
			}
		})
	}
}

// A replica that cannot know what there was before a new grant takes what was signed since; one that knows takes what its client's clock allows.
func TestNewGrantTakesNoOlderAssertion(t *testing.T) {
	app := appWith("other", "key")
	for name, test := range map[string]struct {
		lived, age, signed time.Duration
		want               error
	}{
		"just started, signed now":              {0, 0, 0, nil},
		"just started, signed a moment before":  {0, time.Minute, -time.Minute - 9*time.Second, nil},
		"just started, signed before the grant": {0, time.Minute, -time.Minute - 12*time.Second, errTooOld},
		"just started, an older grant":          {0, time.Hour, -5 * time.Minute, nil},
		"lived long enough":                     {rememberTime, 0, -5 * time.Minute, nil},
		"not quite":                             {rememberTime - time.Second, 0, -5 * time.Minute, errTooOld},
	} {
		now := noon
		s := at(&now)
		s.options.Spent.since = now.Add(-test.lived)
		shown := used("1", now.Add(test.signed))
		grant := newest(app, shown, now.Add(-test.age), "1")
		s.options.Spent.Observe(nil, grant)
		if err := s.record(app, grant.DeepCopy(), shown, nil); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// A grant is not used before this replica's watch has shown it, and with it what was there before.
func TestNewGrantWaitsForTheWatch(t *testing.T) {
	now := noon
	s, app := at(&now), appWith("other", "key")
	shown := used("1", now)
	grant := newest(app, shown, now, "2")
	if err := s.record(app, grant.DeepCopy(), shown, nil); !errors.Is(err, errUnseen) {
		t.Errorf("unseen: %v", err)
	}
	s.options.Spent.Observe(nil, newest(app, shown, now.Add(-time.Minute), "1"))
	if err := s.record(app, grant.DeepCopy(), shown, nil); !errors.Is(err, errUnseen) {
		t.Errorf("the former one was seen: %v", err)
	}
	s.options.Spent.Observe(newest(app, shown, now.Add(-time.Minute), "1"), nil)
	s.options.Spent.Observe(nil, grant)
	if err := s.record(app, grant.DeepCopy(), shown, nil); err != nil {
		t.Errorf("seen: %v", err)
	}
}

// An App that lists its client's key in another way, with a line break more or as a JWK, has another OAuthGrant: what was used is used.
func TestAssertionIsUsedWhateverTheKeyLooksLike(t *testing.T) {
	now := noon
	s, app := at(&now), appWith("other", "key", "key\n")
	shown := used("1", now)
	grant := newest(app, shown, now.Add(-time.Hour), "1")
	if err := s.record(app, grant, shown, nil); err != nil {
		t.Fatal(err)
	}
	s.options.Spent.Observe(nil, grant)
	again := used("1", now)
	again.key = "key\n"
	other := newest(app, again, now, "2")
	s.options.Spent.Observe(nil, other)
	if other.Name == grant.Name {
		t.Fatal("both have one name")
	}
	if err := s.record(app, other.DeepCopy(), again, nil); !errors.Is(err, errReplayed) {
		t.Errorf("beside the first grant: %v", err)
	}
	s.options.Spent.Observe(grant, nil)
	if err := s.record(app, other.DeepCopy(), again, nil); !errors.Is(err, errReplayed) {
		t.Errorf("after the first grant: %v", err)
	}
	stranger := *again
	stranger.clientID = "erp"
	if s.options.Spent.has(stranger.spender(app), token.Digest("1")) {
		t.Error("another client's jti is used, too")
	}
}

// spentWorld is a grant in etcd, and replicas with watches that come late, in order. The clients' clocks are right.
type spentWorld struct {
	now      time.Time
	app      *v1alpha1.App
	object   *v1alpha1.OAuthGrant
	uid      int
	history  []*v1alpha1.OAuthGrant
	replicas []*spentReplica
}

// spentReplica has seen the first states of the history.
type spentReplica struct {
	server *Server
	seen   int
	// knows are the grants that its watch has shown since its start.
	knows map[types.UID]bool
}

func (r *spentReplica) observe(before, after *v1alpha1.OAuthGrant) {
	r.server.options.Spent.Observe(before, after)
	if after != nil {
		r.knows[after.UID] = true
	}
}

func (w *spentWorld) write(object *v1alpha1.OAuthGrant) {
	w.object = object
	w.history = append(w.history, object)
}

// start begins a replica anew: it lists what there is.
func (w *spentWorld) start(replica *spentReplica) {
	clock := func() time.Time { return w.now }
	replica.server = &Server{options: Options{Now: clock, Spent: NewSpent(clock)}, limits: newLimits()}
	replica.seen, replica.knows = len(w.history), map[types.UID]bool{}
	if w.object != nil {
		replica.observe(nil, w.object)
	}
	replica.server.options.Spent.Begin()
}

// relist shows a replica what there is, after a break of its watch.
func (w *spentWorld) relist(replica *spentReplica) {
	var before *v1alpha1.OAuthGrant
	if replica.seen > 0 {
		before = w.history[replica.seen-1]
	}
	replica.observe(before, w.object)
	replica.seen = len(w.history)
}

// watch shows a replica the next state.
func (w *spentWorld) watch(replica *spentReplica) {
	if replica.seen == len(w.history) {
		return
	}
	var before *v1alpha1.OAuthGrant
	if replica.seen > 0 {
		before = w.history[replica.seen-1]
	}
	replica.observe(before, w.history[replica.seen])
	replica.seen++
}

// show shows an assertion to a replica, and says whether it was taken.
func (w *spentWorld) show(replica *spentReplica, shown *assertion) bool {
	if w.object == nil {
		w.uid++
		w.write(newest(w.app, shown, w.now, fmt.Sprint(w.uid)))
	}
	grant := w.object.DeepCopy()
	if replica.server.record(w.app, grant, shown, nil) != nil {
		return false
	}
	w.write(grant)
	return true
}

// Random orders of uses, deletions, late and broken watches and restarts of replicas: no assertion is taken twice. But a replica that started
// since, or whose watch broke, may take one that was signed within freshLeeway before its grant was deleted; and one whose watch was broken
// for all of a grant's life cannot know.
func TestNoAssertionIsTakenTwice(t *testing.T) {
	const schedules = 3000
	replays, leeway, unknown := 0, 0, 0
	for seed := range int64(schedules) {
		random := rand.New(rand.NewSource(seed))
		w := &spentWorld{now: noon, app: appWith("other", "key"), replicas: []*spentReplica{{}, {}, {}}}
		for _, replica := range w.replicas {
			w.start(replica)
		}
		type signed struct {
			*assertion
			takenAt, deleted time.Time
			taken            bool
			grant            types.UID
		}
		var all []*signed
		for step := range 90 {
			w.now = w.now.Add(time.Duration(random.Intn(30)) * time.Second)
			replica := w.replicas[random.Intn(len(w.replicas))]
			switch random.Intn(8) {
			case 0, 1:
				one := &signed{assertion: used(fmt.Sprint(step), w.now)}
				all = append(all, one)
				if one.taken = w.show(replica, one.assertion); one.taken {
					one.takenAt, one.grant = w.now, w.object.UID
				}
			case 2, 3:
				if len(all) == 0 {
					continue
				}
				one := all[random.Intn(len(all))]
				if !w.now.Before(one.until) {
					continue // its claim exp refuses it
				}
				replays++
				switch {
				case !w.show(replica, one.assertion):
				case !one.taken:
					one.taken, one.takenAt, one.grant = true, w.now, w.object.UID
				case one.deleted.Sub(one.issued) <= freshLeeway+time.Second:
					leeway++
				case !replica.knows[one.grant] && w.now.Sub(replica.server.options.Spent.since) >= rememberTime:
					unknown++
				default:
					t.Fatalf("schedule %d, step %d: an assertion signed at %s, taken at %s, is taken again at %s", seed, step, one.issued, one.takenAt, w.now)
				}
			case 4:
				if w.object != nil && random.Intn(3) == 0 {
					w.write(nil)
					for _, one := range all {
						if one.taken && one.deleted.IsZero() {
							one.deleted = w.now
						}
					}
				}
			case 5:
				switch random.Intn(8) {
				case 0:
					w.start(replica)
				case 1:
					w.relist(replica)
				}
			default:
				for range random.Intn(4) {
					w.watch(replica)
				}
			}
		}
	}
	if replays < schedules {
		t.Fatalf("%d replays are too few to tell", replays)
	}
	t.Logf("%d replays; taken: %d within the leeway, %d unknown", replays, leeway, unknown)
}
