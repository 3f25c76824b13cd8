package security_test

import (
	"testing"

	"github.com/scim-operator/scim-operator/test/bystander"
)

// What one tenant does with the objects of its namespace, or asks of the server in odd ways, costs only that one (invariant 8).
func TestBystanderOfObjects(t *testing.T) {
	edits := func(edit bystander.Edit) func(*attacker) bystander.Attack {
		return func(n *attacker) bystander.Attack { return n.Edits(edit) }
	}
	for _, attack := range []struct {
		name string
		run  func(*attacker) bystander.Attack
	}{
		{"50 ScimTokens a second", func(n *attacker) bystander.Attack { return bystander.Objects{Tenant: n.Tenant}.ManyTokens() }},
		{"20 Apps a second", func(n *attacker) bystander.Attack { return bystander.Objects{Tenant: n.Tenant}.ManyApps() }},
		{"an App that is made anew", func(n *attacker) bystander.Attack { return bystander.Objects{Tenant: n.Tenant}.AppMadeAnew() }},
		{"annotations of 200 KB", func(n *attacker) bystander.Attack { return bystander.Objects{Tenant: n.Tenant}.HugeAnnotations() }},
		{"a Secret that changes", func(n *attacker) bystander.Attack { return bystander.Objects{Tenant: n.Tenant}.RotatedSecrets() }},
		{"users that are suspended and are not", func(n *attacker) bystander.Attack { return bystander.Objects{Tenant: n.Tenant}.SuspendedUsers() }},
		{"bindings that are deleted", func(n *attacker) bystander.Attack { return bystander.Objects{Tenant: n.Tenant}.DeletedBindings() }},
		{"a namespace that enters 256 scopes", func(n *attacker) bystander.Attack { return bystander.Objects{Tenant: n.Tenant}.NamespaceLabels() }},
		{"a rule that flips", edits(bystander.FlippingRule)},
		{"a mode that flips", edits(bystander.FlippingMode)},
		{"a prefix that flips", edits(bystander.FlippingPrefix)},
		{"denials that flip", edits(bystander.FlippingDenials)},
		{"roles that end at once", edits(bystander.EndsAtOnce)},
		{"8 clients with groups of one", func(n *attacker) bystander.Attack { return n.GroupsOfOne(8) }},
		{"8 clients with names of 10 KB", func(n *attacker) bystander.Attack { return n.LongNames(8) }},
		{"8 clients with filters of 800 comparisons", func(n *attacker) bystander.Attack { return n.LongFilters(8) }},
	} {
		t.Run(attack.name, func(t *testing.T) {
			attacker := newAttacker(t, 80, 10)
			undisturbed(t, attack.name, attack.run(attacker))
		})
	}
}
