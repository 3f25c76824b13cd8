package security_test

import (
	"testing"
	"time"

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

// What one tenant's client does costs only that one (invariant 8).
func TestBystander(t *testing.T) {
	attacker := newAttacker(t, 1000, 100)
	for _, attack := range []struct {
		name string
		run  bystander.Attack
	}{
		{"16 scan filters", attacker.ScanFilters(16)},
		{"8 sorts", attacker.Sorts(8)},
		{"8 bulk clients", attacker.BulkClients(8)},
		{"32 creating clients", attacker.Creates(32)},
		{"32 wrong tokens", attacker.WrongTokens(32)},
		{"deep JSON", attacker.DeepJSON(4, 30)},
		{"100 slow readers", attacker.SlowReaders(100)},
		{"100 slow bodies", attacker.SlowBodies(100)},
		{"200 slow headers", attacker.SlowHeaders(200)},
		{"1,000 idle connections", attacker.IdleConnections(1000)},
		{"8 clients with users of 150 KB", attacker.LargeUsers(8, 500, 300)},
		{"8 clients with groups of 1,000", attacker.Groups(8, 1000)},
		{"16 clients that deactivate and reactivate", attacker.Leavers(16)},
		{"16 clients that read the largest pages", attacker.Pages(16)},
	} {
		t.Run(attack.name, func(t *testing.T) { undisturbed(t, attack.name, attack.run) })
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
