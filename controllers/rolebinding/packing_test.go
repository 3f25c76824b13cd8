package rolebinding

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestPack(t *testing.T) {
	keep := func(s v1alpha1.AppRoleSubject) string { return s.Name }
	for name, test := range map[string]struct {
		existing [][]string
		holders  []string
		decide   func(v1alpha1.AppRoleSubject) string
		want     []string
	}{
		"nobody":                            {},
		"the first":                         {holders: []string{"a"}, want: []string{"0: a=n-a"}},
		"newcomers are sorted in":           {existing: [][]string{{"b", "d"}}, holders: []string{"c", "a"}, want: []string{"0: a=n-a b=n-b c=n-c d=n-d"}},
		"a leaver changes one chunk":        {existing: [][]string{{"a", "b"}, {"c"}}, decide: without("b"), want: []string{"0: a=n-a", "1: c=n-c"}},
		"the first free place":              {existing: [][]string{{"a", "b"}, {"c"}}, holders: []string{"z"}, decide: without("b"), want: []string{"0: a=n-a z=n-z", "1: c=n-c"}},
		"a person in two chunks":            {existing: [][]string{{"a"}, {"a", "b"}}, want: []string{"0: a=n-a", "1: b=n-b"}},
		"everybody leaves":                  {existing: [][]string{{"a"}, {"b"}}, decide: without("a", "b"), want: []string{"0:", "1:"}},
		"a holder who is bound stays put":   {existing: [][]string{{"a"}, {"b"}}, holders: []string{"b"}, want: []string{"0: a=n-a", "1: b=n-b"}},
		"a subject that is renamed":         {existing: [][]string{{"a"}}, decide: func(v1alpha1.AppRoleSubject) string { return "new" }, want: []string{"0: a=new"}},
		"a chunk in the middle is not left": {existing: [][]string{{"a"}, {"b"}, {"c"}}, decide: without("b"), holders: []string{"d"}, want: []string{"0: a=n-a d=n-d", "1:", "2: c=n-c"}},
	} {
		t.Run(name, func(t *testing.T) {
			decide := test.decide
			if decide == nil {
				decide = keep
			}
			var existing []*v1alpha1.AppRoleBinding
			for i, users := range test.existing {
				binding := &v1alpha1.AppRoleBinding{Spec: v1alpha1.AppRoleBindingSpec{Index: int32(i)}}
				for _, user := range users {
					binding.Spec.Subjects = append(binding.Spec.Subjects, v1alpha1.AppRoleSubject{User: user, Name: "n-" + user})
				}
				existing = append(existing, binding)
			}
			slices.Reverse(existing) // informers know no order
			holders := map[string]string{}
			for _, user := range test.holders {
				holders[user] = "n-" + user
			}
			var got []string
			for _, c := range pack(existing, holders, decide) {
				text := fmt.Sprintf("%d:", c.index)
				for _, s := range c.subjects {
					text += fmt.Sprintf(" %s=%s", s.User, s.Name)
				}
				got = append(got, text)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func without(users ...string) func(v1alpha1.AppRoleSubject) string {
	return func(s v1alpha1.AppRoleSubject) string {
		if slices.Contains(users, s.User) {
			return ""
		}
		return s.Name
	}
}

// Whatever comes and goes: everybody is in exactly one chunk, no chunk is too large, and those who stay do not move.
func TestPackIsStable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var bindings []*v1alpha1.AppRoleBinding
	holders := map[string]string{}
	place := map[string]int32{}
	for round := range 60 {
		for range random.IntN(400) {
			user := fmt.Sprintf("user-%d", random.IntN(4000))
			if random.IntN(3) == 0 {
				delete(holders, user)
			} else {
				holders[user] = "okta:" + user
			}
		}
		chunks := pack(bindings, holders, func(s v1alpha1.AppRoleSubject) string { return holders[s.User] })
		bindings = nil
		seen := map[string]int32{}
		for _, c := range chunks {
			if len(c.subjects) > maxSubjects {
				t.Fatalf("round %d: %d people in a chunk", round, len(c.subjects))
			}
			for _, s := range c.subjects {
				if before, stayed := place[s.User]; stayed && before != c.index {
					t.Fatalf("round %d: %s moved from %d to %d", round, s.User, before, c.index)
				}
				seen[s.User] = c.index
			}
			if len(c.subjects) > 0 {
				bindings = append(bindings, &v1alpha1.AppRoleBinding{Spec: v1alpha1.AppRoleBindingSpec{Index: c.index, Subjects: c.subjects}})
			}
		}
		if len(seen) != len(holders) {
			t.Fatalf("round %d: %d people are placed, %d hold the role", round, len(seen), len(holders))
		}
		place = seen
	}
	if len(bindings) < 2 {
		t.Errorf("%d chunks: the test has too few people", len(bindings))
	}
}
