package faults_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// history is the cluster at one moment of the record, and what it has seen that must never be. It holds the operator to
// these rules at every revision:
//
//   - A person is entitled to a subject while they may have access and one of their names makes it. After the write that
//     ends that, they stay entitled until a status of theirs speaks of that write or a later one, or until their User is
//     gone. So a status that tells of a deactivation says that nothing binds the person, and one that tells of a rename that
//     nothing binds the former name.
//   - Every subject that a binding of this operator names has an entitled person: one User at least. A former entitlement of
//     another person is no excuse.
//   - A subject in a binding to the strongest role stands for at least one person that can earn it.
//   - When a status is written that does not list a role in a scope, no binding made of it names the person, unless another
//     one is entitled to the same subject.
type history struct {
	names    []string
	own      map[string]bool
	prefixes []string

	people   map[string]*personState
	bindings map[string]bindingState
	// entitled maps a subject to the entitled people, boundBy to the bindings that name it now.
	entitled map[int]map[*personState]bool
	boundBy  map[int]map[string]bool
	guard    guardHistory

	ended, examined, statuses int
	violations                []string
	// reported keeps one mistake from being told for every version of its binding.
	reported map[string]bool
}

// personState is one User object.
type personState struct {
	name    string
	version *userVersion
	// until tells, of each subject that the person was entitled to before, the generation of the write that ended it, as long
	// as no status speaks of that; 0 while the person is entitled to it as they are.
	until map[int]int64
	// former tells at which revision the entitlement to a subject ended.
	former map[int]uint64
}

type bindingState struct {
	*bindingVersion
	byHand bool
}

func newHistory(s *safety, c *chaos) *history {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &history{
		names: s.names, own: c.own, people: map[string]*personState{}, bindings: map[string]bindingState{},
		entitled: map[int]map[*personState]bool{}, boundBy: map[int]map[string]bool{}, reported: map[string]bool{},
		guard: newGuardHistory(c),
	}
	for _, prefix := range s.prefixes {
		h.prefixes = append(h.prefixes, prefix)
	}
	return h
}

func (h *history) play(v version) {
	switch {
	case v.user != nil:
		h.guard.playUser(v)
		h.playUser(v)
	case v.binding != nil:
		h.guard.playBinding(v)
		h.playBinding(v)
	default:
		h.guard.playApp(v)
	}
}

func (h *history) playUser(v version) {
	person := h.people[v.key]
	if person == nil || person.version == nil {
		person = &personState{name: v.key, until: map[int]int64{}, former: map[int]uint64{}}
		h.people[v.key] = person
	}
	before := person.version
	person.version = v.user
	if v.deleted {
		person.version = nil
	}
	ended := h.entitle(person, v)
	for _, subject := range ended {
		h.ended++
		for binding := range h.boundBy[subject] {
			h.examine(v.revision, binding, subject)
		}
	}
	isNew := before == nil || !apiequality.Semantic.DeepEqual(before.status, v.user.status)
	if person.version != nil && isNew && v.user.may && v.user.status.ObservedGeneration == v.user.generation {
		for _, violation := range h.guard.playStatus(v, func(role holding) bool { return h.isBound(person, role) }) {
			h.report(violation, "%s", violation)
		}
		h.examineStatus(v.revision, person)
	}
}

// entitle works out what a person is entitled to from a version of their User on, and returns the subjects that this ended.
func (h *history) entitle(person *personState, v version) (ended []int) {
	now := map[int]bool{}
	// A User that was written by hand under another one's name is entitled to nothing.
	if person.version != nil && v.user.may && !strings.HasPrefix(v.user.id, usurperPrefix) {
		for _, subject := range v.user.subjects {
			now[subject] = true
		}
	}
	for subject := range now {
		person.until[subject] = 0
		if h.entitled[subject] == nil {
			h.entitled[subject] = map[*personState]bool{}
		}
		h.entitled[subject][person] = true
	}
	for subject, until := range person.until {
		if now[subject] {
			continue
		}
		if until == 0 {
			until = v.user.generation
			person.until[subject] = until
		}
		if v.deleted || v.user.status.ObservedGeneration >= until && !v.user.failed {
			delete(person.until, subject)
			delete(h.entitled[subject], person)
			person.former[subject] = v.revision
			ended = append(ended, subject)
		}
	}
	return ended
}

func (h *history) playBinding(v version) {
	if before, found := h.bindings[v.key]; found {
		for _, subject := range before.subjects {
			delete(h.boundBy[subject], v.key)
		}
		delete(h.bindings, v.key)
	}
	if v.deleted {
		return
	}
	state := bindingState{bindingVersion: v.binding, byHand: h.own[strconv.FormatUint(v.revision, 10)]}
	h.bindings[v.key] = state
	for _, subject := range state.subjects {
		if h.boundBy[subject] == nil {
			h.boundBy[subject] = map[string]bool{}
		}
		h.boundBy[subject][v.key] = true
	}
	if !state.byHand && strings.HasPrefix(state.role, "chaos-") {
		h.examined++
	}
	for _, subject := range state.subjects {
		h.examine(v.revision, v.key, subject)
	}
}

// examine looks at one subject of one binding. What this test wrote into it by hand is the controllers' to repair, and
// no fault of theirs.
func (h *history) examine(revision uint64, key string, subject int) {
	state, name := h.bindings[key], h.names[subject]
	ours := slices.ContainsFunc(h.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	if state.byHand || !ours {
		return
	}
	may := h.entitled[subject]
	if len(may) == 0 {
		h.report(name+key, "revision %d: %s to %s names %s, which no user may have: %s", revision, key, state.role, name, h.behind(subject))
		return
	}
	if state.role != strongest {
		return
	}
	for person := range may {
		if person.version == nil || !strings.HasPrefix(person.version.id, limited) {
			return
		}
	}
	h.report(name+key, "revision %d: %s names %s, which was never entitled to %s: %s", revision, key, name, strongest, h.behind(subject))
}

// examineStatus holds a status that was just written against the bindings that there are. Of a wrong App it tells what was held
// before, which need not be all.
func (h *history) examineStatus(revision uint64, person *personState) {
	if person.version.frozen {
		return
	}
	h.statuses++
	listed := map[holding]bool{}
	for _, role := range person.version.status.Roles {
		listed[holding{app: person.version.app, role: role.Role, scope: role.Scope}] = true
	}
	for subject := range person.until {
		if len(h.entitled[subject]) != 1 {
			continue
		}
		for key := range h.boundBy[subject] {
			if state := h.bindings[key]; !state.byHand && !listed[state.of] {
				h.report(h.names[subject]+key+"status", "revision %d: the status of %s does not list %v, and %s to %s names %s",
					revision, person.name, state.of, key, state.role, h.names[subject])
			}
		}
	}
}

// isBound says whether a binding made of a role names a person now.
func (h *history) isBound(person *personState, role holding) bool {
	for subject := range person.until {
		for key := range h.boundBy[subject] {
			if h.bindings[key].of == role {
				return true
			}
		}
	}
	return false
}

// behind names the people that are entitled to a subject, or were.
func (h *history) behind(subject int) string {
	var people []string
	for _, person := range h.people {
		until, entitled := person.until[subject]
		former, was := person.former[subject]
		switch {
		case entitled && until == 0:
			people = append(people, person.name+" is entitled to it")
		case entitled:
			people = append(people, fmt.Sprintf("%s was until generation %d", person.name, until))
		case was:
			people = append(people, fmt.Sprintf("%s was until revision %d", person.name, former))
		}
	}
	if len(people) == 0 {
		return "no user ever was"
	}
	slices.Sort(people)
	return strings.Join(people, "; ")
}

func (h *history) report(once, format string, arguments ...any) {
	if !h.reported[once] {
		h.reported[once] = true
		h.violations = append(h.violations, fmt.Sprintf(format, arguments...))
	}
}

// isHeld says of a role that it is kept though it is not earned any more.
func isHeld(role v1alpha1.EarnedRole) bool {
	return slices.ContainsFunc(role.Reasons, func(reason string) bool { return strings.HasPrefix(reason, "held by the App's spec.safety") })
}
