package faults_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// history is the cluster at one moment of the record, and what it has seen that was never to be.
type history struct {
	names []string
	own   map[string]bool

	people   map[string]*personState
	bindings map[string]bindingState
	// of tells which people may stand behind a subject, boundBy which bindings name it now.
	of      map[int][]*personState
	boundBy map[int]map[string]bool

	revocations, examined int
	violations            []string
	// reported keeps one mistake from being told for every version of its binding.
	reported map[string]bool
}

// personState is one User object.
type personState struct {
	name string
	// may have access now.
	may bool
	// out is true from the moment that the access was declared revoked, or the object gone, until the person may have
	// access again. since is that moment's revision.
	out   bool
	since uint64
	// subjects now; a person who was renamed answers for former ones, too, see of.
	subjects []int
}

type bindingState struct {
	role     string
	subjects []int
	byHand   bool
}

func newHistory(names []string, c *chaos) *history {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &history{
		names: names, own: c.own, people: map[string]*personState{}, bindings: map[string]bindingState{},
		of: map[int][]*personState{}, boundBy: map[int]map[string]bool{}, reported: map[string]bool{},
	}
}

func (h *history) play(v version) {
	if v.user != nil {
		h.playUser(v)
	} else {
		h.playBinding(v)
	}
}

func (h *history) playUser(v version) {
	person := h.people[v.key]
	if person == nil {
		person = &personState{name: v.key}
		h.people[v.key] = person
	}
	person.may, person.subjects = v.user.may && !v.deleted, v.user.subjects
	for _, subject := range v.user.subjects {
		if !slices.Contains(h.of[subject], person) {
			h.of[subject] = append(h.of[subject], person)
		}
	}
	switch {
	case person.may:
		person.out = false
		return
	case person.out || !v.user.revoked && !v.deleted:
		return
	}
	person.out, person.since = true, v.revision
	h.revocations++
	for subject, people := range h.of {
		if slices.Contains(people, person) {
			for binding := range h.boundBy[subject] {
				h.examine(v.revision, binding, subject)
			}
		}
	}
}

func (h *history) playBinding(v version) {
	for _, subject := range h.bindings[v.key].subjects {
		delete(h.boundBy[subject], v.key)
	}
	delete(h.bindings, v.key)
	if v.deleted {
		return
	}
	state := bindingState{role: v.binding.role, subjects: v.binding.subjects, byHand: h.own[strconv.FormatUint(v.revision, 10)]}
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
	if state.byHand {
		return
	}
	switch {
	case strings.HasSuffix(name, ":"+intruder):
		h.report(name+key, "revision %d: %s to %s names %s, whom nobody provisioned", revision, key, state.role, name)
	case state.role == strongest && strings.Contains(name, ":"+limited), state.role == strongest && strings.Contains(name, ":mail."+limited):
		h.report(name+key, "revision %d: %s names %s, who was never entitled to %s", revision, key, name, strongest)
	}
	var out *personState
	for _, person := range h.of[subject] {
		if !person.out {
			return // has the name, or had it until just now, and has access or is about to lose it, whoever had the name before
		}
		out = person
	}
	if out != nil {
		h.report(fmt.Sprint(name, key, out.since), "revision %d: %s to %s names %s, whose access was revoked: %s",
			revision, key, state.role, name, h.behind(subject))
	}
}

// behind tells who stands, or stood, behind a subject.
func (h *history) behind(subject int) string {
	var people []string
	for _, person := range h.of[subject] {
		text := person.name
		switch {
		case person.out:
			text += fmt.Sprintf(", out since revision %d", person.since)
		case person.may:
			text += ", who may have access"
		default:
			text += ", who is about to lose it"
		}
		if !slices.Contains(person.subjects, subject) {
			text += " and goes by another name now"
		}
		people = append(people, text)
	}
	return strings.Join(people, "; ")
}

func (h *history) report(once, format string, arguments ...any) {
	if !h.reported[once] {
		h.reported[once] = true
		h.violations = append(h.violations, fmt.Sprintf(format, arguments...))
	}
}
