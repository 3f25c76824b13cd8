// Package packing decides which user is in which AppRoleBinding of a role, and which subjects the native bindings made from
// it have. It is pure: a run gathers the input, and writes what follows from the output.
//
// A role's members are split into chunks, one for each AppRoleBinding. The existing bindings are the packing, so that it is
// stable: a user that stays keeps its chunk, a leaver changes one chunk, a newcomer goes into the first chunk with room.
package packing

import (
	"cmp"
	"maps"
	"slices"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// MaxSubjects is how far an AppRoleBinding is filled, and so each native binding made from it: about 10 kB. Its schema
// admits 1000. Each user that comes or goes has its objects written whole, by several programs; and each object costs as
// much as a dozen subjects wherever all of them are read.
const MaxSubjects = 100

// Input of Pack.
type Input struct {
	// Touched tells which bindings to look at; nil for all. The others stay as they are.
	Touched func(*v1alpha1.AppRoleBinding) bool
	// Decide returns the member that a bound subject becomes, or false where it leaves.
	Decide func(v1alpha1.AppRoleSubject) (m Member, stays bool)
	// Newcomers are to be bound, too, by the names of their User objects. None of them is in a chunk that is not touched,
	// and none is put into one.
	Newcomers map[string]Member
}

// Pack returns the chunks of a role. It sorts existing by index.
func Pack(existing []*v1alpha1.AppRoleBinding, in Input) []Chunk {
	slices.SortFunc(existing, func(a, b *v1alpha1.AppRoleBinding) int { return cmp.Compare(a.Spec.Index, b.Spec.Index) })
	chunks := make([]Chunk, 0, len(existing)+1)
	placed := map[string]bool{}
	for _, binding := range existing {
		c := Chunk{Index: binding.Spec.Index, Existing: binding, Size: len(binding.Spec.Subjects)}
		if in.Touched == nil || in.Touched(binding) {
			in.keep(&c, placed)
		}
		chunks = append(chunks, c)
	}
	chunks = in.place(chunks, placed)
	for i := range chunks {
		slices.SortFunc(chunks[i].Members, func(a, b Member) int { return cmp.Compare(a.User, b.User) })
		chunks[i].indexSubjects()
	}
	return chunks
}

// keep decides which members of a chunk stay in it. A user in several chunks stays in the first.
func (in Input) keep(c *Chunk, placed map[string]bool) {
	c.Touched = true
	c.Members = make([]Member, 0, len(c.Existing.Spec.Subjects)+1)
	for _, subject := range c.Existing.Spec.Subjects {
		m, stays := in.Decide(subject)
		if !stays || placed[subject.User] || isReserved(m.AppRoleSubject) {
			c.HasRemovals = true
			continue
		}
		placed[subject.User] = true
		m.Before = subject.Group
		c.HasRemovals = c.HasRemovals || m.Name != subject.Name
		c.Members = append(c.Members, m)
	}
	c.Size = len(c.Members)
}

// place puts newcomers into chunks, in the order of their names.
func (in Input) place(chunks []Chunk, placed map[string]bool) []Chunk {
	next := 0
	for _, user := range slices.Sorted(maps.Keys(in.Newcomers)) {
		if placed[user] || isReserved(in.Newcomers[user].AppRoleSubject) {
			continue
		}
		for next < len(chunks) && (chunks[next].Size >= MaxSubjects || !chunks[next].Touched) {
			next++
		}
		if next == len(chunks) {
			chunks = append(chunks, Chunk{Index: freeIndex(chunks), Touched: true})
		}
		chunks[next].Members = append(chunks[next].Members, in.Newcomers[user])
		chunks[next].Size++
	}
	return chunks
}

// freeIndex returns the lowest index that no chunk has.
func freeIndex(chunks []Chunk) int32 {
	var index int32
	for slices.ContainsFunc(chunks, func(c Chunk) bool { return c.Index == index }) {
		index++
	}
	return index
}
