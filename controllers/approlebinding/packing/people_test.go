package packing

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/earned"
)

// Facts decide which users stay bound. A user that was never evaluated stays only under a name that its User object allows;
// a user that was evaluated stays if it holds the role, whatever the binding says.
func TestFactsDecide(t *testing.T) {
	now := earned.AppGeneration{UID: types.UID("now")}
	before := earned.AppGeneration{UID: types.UID("before")}
	holds := func(change func(*earned.Standing)) earned.Standing {
		s := earned.Standing{Evaluated: true, Holds: true, App: now, Subject: v1alpha1.AppRoleSubject{User: "a", Name: "okta:a"}}
		if change != nil {
			change(&s)
		}
		return s
	}
	bound := v1alpha1.AppRoleSubject{User: "a", Name: "okta:a"}
	for name, test := range map[string]struct {
		standing   *earned.Standing
		names      []string
		bound      v1alpha1.AppRoleSubject
		stays      bool
		want       Member
		needsNames bool
	}{
		"evaluated and holds": {
			standing: new(holds(nil)), bound: bound, stays: true,
			want: Member{AppRoleSubject: bound, Current: true},
		},
		"evaluated and lost": {
			standing: new(holds(func(s *earned.Standing) { s.Holds = false })), bound: bound,
			want: Member{AppRoleSubject: bound, Current: true},
		},
		"evaluated for an earlier generation": {
			standing: new(holds(func(s *earned.Standing) { s.App = before })), bound: bound, stays: true,
			want: Member{AppRoleSubject: bound},
		},
		"renamed": {
			standing: new(holds(nil)), bound: v1alpha1.AppRoleSubject{User: "a", Name: "okta:old"}, stays: true,
			want: Member{AppRoleSubject: bound, Current: true},
		},
		"kept": {
			standing: new(holds(func(s *earned.Standing) { s.Kept = true })), bound: bound, stays: true,
			want: Member{AppRoleSubject: bound, Kept: true},
		},
		"kept and renamed": {
			standing: new(holds(func(s *earned.Standing) { s.Kept = true })), names: []string{"okta:a", "okta:old"},
			bound: v1alpha1.AppRoleSubject{User: "a", Name: "okta:old"}, stays: true, needsNames: true,
			want: Member{AppRoleSubject: bound, Kept: true, Formerly: []string{"okta:a", "okta:old"}},
		},
		"kept, bound under a name of others": {
			standing: new(holds(func(s *earned.Standing) { s.Kept = true })), names: []string{"okta:a"},
			bound: v1alpha1.AppRoleSubject{User: "a", Name: "okta:other"}, stays: true, needsNames: true,
			want: Member{AppRoleSubject: bound, Kept: true},
		},
		"not evaluated, may have access": {
			names: []string{"okta:a"}, bound: bound, stays: true, needsNames: true,
			want: Member{AppRoleSubject: bound, Unevaluated: true},
		},
		"not evaluated, under a name of others": {
			names: []string{"okta:b"}, bound: bound, needsNames: true,
			want: Member{AppRoleSubject: bound, Unevaluated: true},
		},
		"not evaluated, gone or inactive": {
			bound: bound, needsNames: true,
			want: Member{AppRoleSubject: bound, Unevaluated: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := Facts{App: now, Standings: map[string]earned.Standing{}, Names: map[string][]string{"a": test.names}}
			if test.standing != nil {
				facts.Standings["a"] = *test.standing
			}
			if got := facts.NeedsNames(test.bound); got != test.needsNames {
				t.Errorf("needs names: %v", got)
			}
			m, stays := facts.Decide(test.bound)
			if stays != test.stays || fmt.Sprintf("%+v", m) != fmt.Sprintf("%+v", test.want) {
				t.Errorf("%+v, stays %v; want %+v", m, stays, test.want)
			}
		})
	}
}

// No user is added to a binding by a state of the App that is over, or while held by spec.safety.
func TestFactsNewcomer(t *testing.T) {
	now := earned.AppGeneration{UID: types.UID("now")}
	for name, test := range map[string]struct {
		standing earned.Standing
		joins    bool
	}{
		"not evaluated":                {earned.Standing{}, false},
		"holds":                        {earned.Standing{Evaluated: true, Holds: true, App: now}, true},
		"holds nothing":                {earned.Standing{Evaluated: true, App: now}, false},
		"by an earlier state":          {earned.Standing{Evaluated: true, Holds: true}, false},
		"kept without having earned":   {earned.Standing{Evaluated: true, Holds: true, Kept: true, App: now}, false},
		"zero App and not evaluated":   {earned.Standing{App: now}, false},
		"kept by an earlier state too": {earned.Standing{Evaluated: true, Holds: true, Kept: true}, false},
	} {
		facts := Facts{App: now, Standings: map[string]earned.Standing{"a": test.standing}}
		if _, joins := facts.Newcomer("a"); joins != test.joins {
			t.Errorf("%s: joins %v", name, joins)
		}
	}
}

func bindingOf(index int32, users ...string) *v1alpha1.AppRoleBinding {
	b := &v1alpha1.AppRoleBinding{Spec: v1alpha1.AppRoleBindingSpec{Index: index}}
	for _, user := range users {
		b.Spec.Subjects = append(b.Spec.Subjects, v1alpha1.AppRoleSubject{User: user, Name: "n-" + user})
	}
	return b
}

func TestLooked(t *testing.T) {
	full := bindingOf(1)
	for i := range MaxSubjects {
		full.Spec.Subjects = append(full.Spec.Subjects, v1alpha1.AppRoleSubject{User: fmt.Sprintf("u-%04d", i)})
	}
	for name, test := range map[string]struct {
		dirty     []string
		newcomers int
		due       int32
		want      []int32
	}{
		"nothing to do":           {due: -1},
		"a dirty user":            {dirty: []string{"b"}, due: -1, want: []int32{0}},
		"a dirty user of the end": {dirty: []string{"c", "unknown"}, due: -1, want: []int32{2}},
		"room for a newcomer":     {newcomers: 1, due: -1, want: []int32{0}},
		"room for many":           {newcomers: MaxSubjects, due: -1, want: []int32{0, 2}},
		"due":                     {due: 1, want: []int32{1}},
	} {
		bindings := []*v1alpha1.AppRoleBinding{bindingOf(2, "c"), full, bindingOf(0, "a", "b")}
		var got []int32
		for _, binding := range Looked(bindings, test.dirty, test.newcomers, func(b *v1alpha1.AppRoleBinding) bool { return b.Spec.Index == test.due }) {
			got = append(got, binding.Spec.Index)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// Others may write a binding unsorted. A user must be found in it all the same: access that is not seen is never removed.
func TestPosition(t *testing.T) {
	for name, test := range map[string]struct {
		users []string
		want  int
	}{
		"none":              {nil, -1},
		"sorted":            {[]string{"a", "m", "z"}, 1},
		"sorted, not in it": {[]string{"a", "z"}, -1},
		"unsorted":          {[]string{"z", "b", "m"}, 2},
		"unsorted, first":   {[]string{"m", "b", "a", "c", "d"}, 0},
		"unsorted, without": {[]string{"z", "a"}, -1},
	} {
		if got := Position(bindingOf(0, test.users...), "m"); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
	bindings := []*v1alpha1.AppRoleBinding{bindingOf(0, "z", "m"), bindingOf(1, "b")}
	if got := Unbound(bindings, []string{"a", "b", "m"}); !slices.Equal(got, []string{"a"}) {
		t.Errorf("unbound: %v", got)
	}
}
