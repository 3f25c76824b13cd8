package ledger_test

import (
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/test/e2e/ledger"
)

func user(id, userName, role string, active bool) any {
	return map[string]any{"id": id, "userName": userName, "externalId": "ext-" + id, "role": role, "active": active}
}

func group(id, name string, members ...string) any {
	var list []any
	for _, member := range members {
		list = append(list, map[string]any{"value": member})
	}
	return map[string]any{"id": id, "displayName": name, "members": list}
}

func TestCompareFindsEveryKindOfLoss(t *testing.T) {
	var l ledger.Ledger
	l.Record(ledger.Person{ID: "jane-1", UserName: "jane", ExternalID: "ext-jane-1", Role: "viewer", Active: true})
	l.Record(ledger.Person{ID: "john-1", UserName: "john", ExternalID: "ext-john-1", Role: "viewer", Active: true})
	l.Record(ledger.Person{ID: "john-1", UserName: "john", ExternalID: "ext-john-1", Role: "viewer", Active: false})
	l.RecordGroup(ledger.Group{ID: "staff-1", Name: "Staff", Members: []string{"john-1", "jane-1"}})
	jane, john, staff := user("jane-1", "jane", "viewer", true), user("john-1", "john", "viewer", false), group("staff-1", "Staff", "jane-1", "john-1")
	if l.Changes() != 4 {
		t.Errorf("%d changes, 4 were recorded", l.Changes())
	}
	for _, test := range []struct {
		name          string
		users, groups []any
		want          string
	}{
		{"everything as acknowledged", []any{jane, john}, []any{staff}, ""},
		{"a deactivation undone", []any{jane, user("john-1", "john", "viewer", true)}, []any{staff}, "user john-1 is"},
		{"a role as it was before", []any{user("jane-1", "jane", "developer", true), john}, []any{staff}, "user jane-1 is"},
		{"a user missing", []any{john}, []any{staff}, "user jane-1 (jane) was acknowledged and is missing"},
		{"a user twice", []any{jane, john, user("jane-2", "jane", "viewer", true)}, []any{staff}, `2 resources have the userName "jane"`},
		{"a user from nowhere", []any{jane, john, user("eve-1", "eve", "viewer", true)}, []any{staff}, "user eve-1 (eve) was never acknowledged"},
		{"a member lost", []any{jane, john}, []any{group("staff-1", "Staff", "jane-1")}, "group staff-1 is"},
		{"a group missing", []any{jane, john}, nil, "group staff-1 (Staff) was acknowledged and is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(l.Compare(test.users, test.groups), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
