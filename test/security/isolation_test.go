package security_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/bystander"
)

// attackFor is how long the bystander is measured before each attack, and during it.
const attackFor = 4 * time.Second

// newAttacker is another tenant's App with so many users.
func newAttacker(t testing.TB, users, bytes int) *attacker {
	t.Helper()
	tenant, err := bystander.NewTenant(t.Context(), operator.Server.URL, operator.Env.Client, nil)
	must(t, err)
	must(t, tenant.Fill(t.Context(), users, bytes))
	return &attacker{tenant}
}

// undisturbed runs an attack and fails the test where a bystander notices it by more than a busy machine explains.
func undisturbed(t *testing.T, name string, attack bystander.Attack) {
	t.Helper()
	operator.ShowOnFailure(t)
	other, err := bystander.New(t.Context(), operator.Server.URL, operator.Env.Client)
	must(t, err)
	report, err := other.Under(t.Context(), name, attackFor, attack)
	must(t, err)
	t.Log(report)
	for _, missed := range report.Loose() {
		t.Error(missed)
	}
}

// outcome is what the server let through of one attack.
type outcome struct {
	// answers by status.
	answers map[int]int
	// users are those that the attacker's directory has more than before.
	users   int
	seconds float64
}

// over runs an attack as undisturbed does, and counts what the server let through. A bystander's times tell little on a busy
// machine; how much an attack gets does not depend on it.
func (n *attacker) over(t *testing.T, name string, attack bystander.Attack) outcome {
	t.Helper()
	before, users := n.Answers(), n.countUsers(t)
	var begun time.Time
	undisturbed(t, name, func(ctx context.Context) error {
		begun = time.Now()
		return attack(ctx)
	})
	o := outcome{answers: n.Answers(), users: n.countUsers(t) - users, seconds: time.Since(begun).Seconds()}
	for status, count := range before {
		if o.answers[status] -= count; o.answers[status] == 0 {
			delete(o.answers, status)
		}
	}
	t.Logf("in %.1f s %v were answered, by status, and %d users created", o.seconds, o.answers, o.users)
	return o
}

func (n *attacker) countUsers(t *testing.T) int {
	t.Helper()
	list := &v1alpha1.UserList{}
	must(t, operator.Env.Client.List(t.Context(), list, client.InNamespace(n.Namespace)))
	return len(list.Items)
}

// atTheRate fails the test where more requests were taken than an App's limits let through.
func atTheRate(t *testing.T, o outcome) {
	t.Helper()
	o.taken(t, burst+perSecond*o.seconds)
}

// atBothRates is atTheRate for an attack of which a part are removals.
func atBothRates(t *testing.T, o outcome) {
	t.Helper()
	o.taken(t, 2*(burst+perSecond*o.seconds))
}

func (o outcome) taken(t *testing.T, most float64) {
	t.Helper()
	taken := 0
	for status, count := range o.answers {
		if status != http.StatusTooManyRequests {
			taken += count
		}
	}
	// On a busy machine the largest pages take longer than the attack: then all that was answered is the refusal of the others.
	if len(o.answers) == 0 || float64(taken) > most+1 {
		t.Errorf("%d requests were taken, at most %.0f should be; answers were %v", taken, most, o.answers)
	}
}

// operationsAtTheRate is atTheRate for operations of bulk requests: each of those lasts longer than the attack.
func operationsAtTheRate(t *testing.T, o outcome) {
	t.Helper()
	const underWay = 16 // when the attack ends
	if most := burst + perSecond*o.seconds + underWay; o.users == 0 || float64(o.users) > most {
		t.Errorf("%d users were created, at least one and at most %.0f should be", o.users, most)
	}
}

// backedOff fails the test where more guesses were answered than one source may have.
func backedOff(t *testing.T, o outcome) {
	t.Helper()
	if most := 100 + 10*o.seconds + 1; float64(o.answers[http.StatusUnauthorized]) > most || o.answers[http.StatusUnauthorized] == 0 {
		t.Errorf("%d guesses were answered, at least one and at most %.0f should be", o.answers[http.StatusUnauthorized], most)
	}
}

// nothingStored fails the test unless every request was refused for what it holds.
func nothingStored(t *testing.T, o outcome) {
	t.Helper()
	delete(o.answers, http.StatusTooManyRequests)
	if o.answers[http.StatusBadRequest] == 0 || len(o.answers) != 1 || o.users != 0 {
		t.Errorf("%v were answered, and %d users created; want 400 alone", o.answers, o.users)
	}
}

// What one tenant's client does costs only that one (invariant 8). What connections hold, TestClientsThatDoNotRead and its
// neighbours count.
func TestBystander(t *testing.T) {
	attacker := newAttacker(t, 1000, 100)
	for _, attack := range []struct {
		name string
		run  bystander.Attack
		// within fails the test where the attack got more than it may; nil where nothing of it is answered.
		within func(*testing.T, outcome)
	}{
		{"16 scan filters", attacker.ScanFilters(16), atTheRate},
		{"8 sorts", attacker.Sorts(8), atTheRate},
		{"8 bulk clients", attacker.BulkClients(8), operationsAtTheRate},
		{"32 creating clients", attacker.Creates(32), atTheRate},
		{"32 wrong tokens", attacker.WrongTokens(32), backedOff},
		{"JSON of 9,000 levels", attacker.DeepJSON(4, 9000), nothingStored},
		{"100 slow readers", attacker.SlowReaders(100), nil},
		{"100 slow bodies", attacker.SlowBodies(100), nil},
		{"200 slow headers", attacker.SlowHeaders(200), nil},
		{"1,000 idle connections", attacker.IdleConnections(1000), nil},
		{"8 clients with users of 150 KB", attacker.LargeUsers(8, 500, 300), atTheRate},
		{"8 clients with groups of 1,000", attacker.Groups(8, 1000), atTheRate},
		{"16 clients that deactivate and reactivate", attacker.Leavers(16), atBothRates},
		{"16 clients that read the largest pages", attacker.Pages(16), atTheRate},
	} {
		t.Run(attack.name, func(t *testing.T) {
			if attack.within == nil {
				undisturbed(t, attack.name, attack.run)
				return
			}
			attack.within(t, attacker.over(t, attack.name, attack.run))
		})
	}
}

// What one tenant's App asks of the controller costs only that one (invariant 8).
func TestBystanderOfApps(t *testing.T) {
	for _, attack := range []struct {
		name  string
		users int
		edit  bystander.Edit
	}{
		{"127 expensive expressions, 160 users", 160, bystander.ExpensiveExpressions},
		{"1024 pairs of role and scope, 2 users", 2, bystander.ManyPairs},
	} {
		t.Run(attack.name, func(t *testing.T) {
			attacker := newAttacker(t, attack.users, 10)
			undisturbed(t, attack.name, attacker.Edits(attack.edit))
		})
	}
}
