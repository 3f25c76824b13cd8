package packing

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

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
		"a bound holder stays put":          {existing: [][]string{{"a"}, {"b"}}, holders: []string{"b"}, want: []string{"0: a=n-a", "1: b=n-b"}},
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
			for _, c := range packAll(existing, holders, decide) {
				text := fmt.Sprintf("%d:", c.Index)
				for _, s := range c.Subjects() {
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

// packAll packs people that have been evaluated for the App as it is; decide says under what name one stays, or "".
func packAll(existing []*v1alpha1.AppRoleBinding, holders map[string]string, decide func(v1alpha1.AppRoleSubject) string) []Chunk {
	p := Input{Newcomers: map[string]Member{}}
	for user, name := range holders {
		p.Newcomers[user] = Member{AppRoleSubject: v1alpha1.AppRoleSubject{User: user, Name: name}, Current: true}
	}
	p.Decide = func(s v1alpha1.AppRoleSubject) (Member, bool) {
		name := decide(s)
		return Member{AppRoleSubject: v1alpha1.AppRoleSubject{User: s.User, Name: name}, Current: true}, name != ""
	}
	return Pack(existing, p)
}

func without(users ...string) func(v1alpha1.AppRoleSubject) string {
	return func(s v1alpha1.AppRoleSubject) string {
		if slices.Contains(users, s.User) {
			return ""
		}
		return s.Name
	}
}

// Whatever comes and goes: each user is in exactly one chunk, no chunk is too large, and a user that stays does not move.
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
		chunks := packAll(bindings, holders, func(s v1alpha1.AppRoleSubject) string { return holders[s.User] })
		bindings = nil
		seen := map[string]int32{}
		for _, c := range chunks {
			if len(c.Members) > MaxSubjects || len(c.Members) != c.Size {
				t.Fatalf("round %d: %d people in a chunk of %d", round, len(c.Members), c.Size)
			}
			for _, s := range c.Subjects() {
				if before, stayed := place[s.User]; stayed && before != c.Index {
					t.Fatalf("round %d: %s moved from %d to %d", round, s.User, before, c.Index)
				}
				seen[s.User] = c.Index
			}
			if len(c.Members) > 0 {
				bindings = append(bindings, &v1alpha1.AppRoleBinding{Spec: v1alpha1.AppRoleBindingSpec{Index: c.Index, Subjects: c.Subjects()}})
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

// Objects may hold as many as their schema admits: a user in one stays there, and none is added.
func TestPackKeepsLargerObjects(t *testing.T) {
	large := &v1alpha1.AppRoleBinding{}
	for i := range 4 * MaxSubjects {
		user := fmt.Sprintf("user-%04d", i)
		large.Spec.Subjects = append(large.Spec.Subjects, v1alpha1.AppRoleSubject{User: user, Name: "okta:" + user})
	}
	chunks := packAll([]*v1alpha1.AppRoleBinding{large}, map[string]string{"newcomer": "okta:newcomer"}, without("user-0007"))
	if len(chunks) != 2 || len(chunks[0].Members) != 4*MaxSubjects-1 || len(chunks[1].Members) != 1 || chunks[1].Index != 1 {
		t.Fatalf("got %d chunks, the first of %d people", len(chunks), len(chunks[0].Members))
	}
	if slices.ContainsFunc(chunks[0].Members, func(m Member) bool { return m.User == "user-0007" || m.User == "newcomer" }) {
		t.Error("the large object holds the leaver or the newcomer")
	}
}

func person(user, group string, current bool) Member {
	return Member{AppRoleSubject: v1alpha1.AppRoleSubject{User: user, Name: "n-" + user, Group: group}, Current: current}
}

// Chunks that a run does not look at stay as they are, and no user is put into them.
func TestPackLeavesAloneWhatIsNotTouched(t *testing.T) {
	binding := func(index int32, users ...string) *v1alpha1.AppRoleBinding {
		b := &v1alpha1.AppRoleBinding{Spec: v1alpha1.AppRoleBindingSpec{Index: index}}
		for _, user := range users {
			b.Spec.Subjects = append(b.Spec.Subjects, person(user, "", true).AppRoleSubject)
		}
		return b
	}
	p := Input{
		Touched: func(b *v1alpha1.AppRoleBinding) bool { return b.Spec.Index == 1 },
		Decide: func(s v1alpha1.AppRoleSubject) (Member, bool) {
			if s.User == "a" {
				t.Error("a user was looked at in vain")
			}
			return person(s.User, "", true), s.User != "c"
		},
		Newcomers: map[string]Member{"d": person("d", "", true)},
	}
	chunks := Pack([]*v1alpha1.AppRoleBinding{binding(0, "a"), binding(1, "b", "c")}, p)
	if len(chunks) != 2 || chunks[0].Touched || chunks[0].Size != 1 || !chunks[1].HasRemovals || chunks[1].Size != 2 ||
		chunks[1].Members[0].User != "b" || chunks[1].Members[1].User != "d" {
		t.Errorf("got %+v", chunks)
	}
}

// Names that Kubernetes keeps for itself are never bound, whatever asks for them.
func TestPackRefusesReservedNames(t *testing.T) {
	p := Input{
		Decide: func(s v1alpha1.AppRoleSubject) (Member, bool) { return Member{AppRoleSubject: s, Current: true}, true },
		Newcomers: map[string]Member{
			"a": person("a", "system:masters", true),
			"b": {AppRoleSubject: v1alpha1.AppRoleSubject{User: "b", Name: "system:admin"}, Current: true},
			"c": person("c", "staff", true),
		},
	}
	existing := &v1alpha1.AppRoleBinding{Spec: v1alpha1.AppRoleBindingSpec{Subjects: []v1alpha1.AppRoleSubject{
		{User: "d", Name: "n-d", Group: "system:masters"},
	}}}
	chunks := Pack([]*v1alpha1.AppRoleBinding{existing}, p)
	if len(chunks) != 1 || len(chunks[0].Members) != 1 || chunks[0].Members[0].User != "c" {
		t.Errorf("got %+v", chunks)
	}
}

// The subjects of a native binding: all users that were evaluated for the App as it is, and of the others those that are in
// it now.
func TestSubjectsOfNatives(t *testing.T) {
	user := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "n-" + name}
	}
	group := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: name}
	}
	switched := person("s", "", true)
	switched.Before = "old"
	for name, test := range map[string]struct {
		members          []Member
		existing         []rbacv1.Subject
		wanted, retained []rbacv1.Subject
		waiting          bool
	}{
		"everybody is evaluated": {
			members: []Member{person("b", "", true), person("a", "", true)},
			wanted:  []rbacv1.Subject{user("a"), user("b")},
		},
		"one is not, and is not in it": {
			members: []Member{person("a", "", true), person("b", "", false)},
			wanted:  []rbacv1.Subject{user("a")}, waiting: true,
		},
		"one is not, and is in it": {
			members: []Member{person("a", "", true), person("b", "", false)}, existing: []rbacv1.Subject{user("b")},
			wanted: []rbacv1.Subject{user("a"), user("b")}, retained: []rbacv1.Subject{user("b")},
		},
		"people of one group": {
			members: []Member{person("a", "staff", true), person("b", "staff", true), person("c", "", true)},
			wanted:  []rbacv1.Subject{group("staff"), user("c")},
		},
		"to groups, evaluated": {
			members: []Member{person("a", "staff", true)}, existing: []rbacv1.Subject{user("a")},
			wanted: []rbacv1.Subject{group("staff")},
		},
		"to groups, not evaluated": {
			members: []Member{person("a", "staff", false)}, existing: []rbacv1.Subject{user("a")},
			wanted: []rbacv1.Subject{user("a")}, retained: []rbacv1.Subject{user("a")}, waiting: true,
		},
		"back from groups": {
			members: []Member{switched}, existing: []rbacv1.Subject{group("old")},
			wanted: []rbacv1.Subject{user("s")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewChunk(0, test.members...)
			wanted, waiting := c.Wanted(test.existing)
			if !slices.Equal(wanted, test.wanted) || waiting != test.waiting {
				t.Errorf("wanted %v, waiting %v", wanted, waiting)
			}
			if retained, _ := c.Retained(test.existing); !slices.Equal(retained, test.retained) {
				t.Errorf("retained %v", retained)
			}
			if remain, others := c.Among(test.existing); others || len(remain) != len(test.existing) {
				t.Errorf("a user would lose access for a moment: %v of %v remain", remain, test.existing)
			}
		})
	}
}

// A user that is kept under another name stays in its native bindings. The names that bind others are no claim to it.
func TestKeptUnderAnotherName(t *testing.T) {
	user := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "n-" + name}
	}
	renamed := person("r", "", false)
	renamed.Kept, renamed.Formerly = true, []string{"n-r", "n-maiden", "n-a"}
	for name, test := range map[string]struct{ existing, wanted, retained, remain []rbacv1.Subject }{
		"not in it":                {[]rbacv1.Subject{user("x")}, []rbacv1.Subject{user("a")}, nil, nil},
		"by the former name":       {[]rbacv1.Subject{user("maiden")}, []rbacv1.Subject{user("a"), user("r")}, []rbacv1.Subject{user("r")}, []rbacv1.Subject{user("r")}},
		"by both":                  {[]rbacv1.Subject{user("maiden"), user("r")}, []rbacv1.Subject{user("a"), user("r")}, []rbacv1.Subject{user("r")}, []rbacv1.Subject{user("r")}},
		"somebody else of the key": {[]rbacv1.Subject{user("a")}, []rbacv1.Subject{user("a")}, nil, []rbacv1.Subject{user("a")}},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewChunk(0, person("a", "", true), renamed)
			wanted, waiting := c.Wanted(test.existing)
			retained, _ := c.Retained(test.existing)
			remain, _ := c.Among(test.existing)
			if !slices.Equal(wanted, test.wanted) || !slices.Equal(retained, test.retained) || !slices.Equal(remain, test.remain) || waiting {
				t.Errorf("wanted %v, retained %v, remain %v, waiting %v", wanted, retained, remain, waiting)
			}
		})
	}
}

// An AppRoleBinding that is fuller than they are filled now stays as it is, and takes no user in until there is room.
func TestFullerThanFull(t *testing.T) {
	binding := &v1alpha1.AppRoleBinding{}
	for i := range MaxSubjects + 2 {
		binding.Spec.Subjects = append(binding.Spec.Subjects, v1alpha1.AppRoleSubject{User: fmt.Sprintf("u%04d", i), Name: "n"})
	}
	pack := func(leavers int) []Chunk {
		return Pack([]*v1alpha1.AppRoleBinding{binding}, Input{
			Decide: func(s v1alpha1.AppRoleSubject) (Member, bool) {
				return Member{AppRoleSubject: s}, s.User >= fmt.Sprintf("u%04d", leavers)
			},
			Newcomers: map[string]Member{"v": {AppRoleSubject: v1alpha1.AppRoleSubject{User: "v", Name: "n"}}},
		})
	}
	for leavers, want := range map[int][]int{0: {MaxSubjects + 2, 1}, 2: {MaxSubjects, 1}, 3: {MaxSubjects}} {
		var sizes []int
		for _, c := range pack(leavers) {
			sizes = append(sizes, len(c.Members))
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("after %d leavers: chunks of %v, want %v", leavers, sizes, want)
		}
	}
}

func TestLost(t *testing.T) {
	existing := &v1alpha1.AppRoleBinding{}
	for _, user := range []string{"a", "b", "c"} {
		existing.Spec.Subjects = append(existing.Spec.Subjects, v1alpha1.AppRoleSubject{User: user, Name: "n-" + user})
	}
	members := func(users ...string) (list []Member) {
		for _, user := range users {
			list = append(list, Member{AppRoleSubject: v1alpha1.AppRoleSubject{User: user, Name: "n-" + user}})
		}
		return list
	}
	renamed := members("a", "b")
	renamed[1].Name = "other"
	for name, test := range map[string]struct {
		existing *v1alpha1.AppRoleBinding
		members  []Member
		lost     []string
		only     bool
	}{
		"nothing":            {existing, members("a", "b", "c"), nil, true},
		"the first":          {existing, members("b", "c"), []string{"a"}, true},
		"all but one":        {existing, members("b"), []string{"a", "c"}, true},
		"and one joins":      {existing, members("a", "b", "d"), []string{"c"}, false},
		"and one is renamed": {existing, renamed, []string{"b", "c"}, false},
		"there is none":      {nil, members("a"), nil, false},
	} {
		c := Chunk{Existing: test.existing, Members: test.members}
		lost, only := c.Lost()
		if only != test.only || only && !slices.Equal(lost, test.lost) {
			t.Errorf("%s: %v, %v", name, lost, only)
		}
		if c.Has("z") || len(test.members) > 0 && !c.Has(test.members[0].User) {
			t.Errorf("%s: members", name)
		}
	}
}
