package rolebinding

import (
	"cmp"
	"maps"
	"slices"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// maxSubjects of one AppRoleBinding, and so of each native binding made from it: about 100 kB.
const maxSubjects = 1000

// chunk is the part of a key's people that one AppRoleBinding holds.
type chunk struct {
	index int32
	// existing is the AppRoleBinding as it is; nil where there is none.
	existing *v1alpha1.AppRoleBinding
	// subjects that it should hold, sorted by user.
	subjects []v1alpha1.AppRoleSubject
}

// names returns the RBAC subjects of the chunk, sorted and each once.
func (c *chunk) names() []string {
	names := make([]string, 0, len(c.subjects))
	for i := range c.subjects {
		names = append(names, c.subjects[i].Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// pack decides who is in which chunk. The existing bindings are the packing, so that it is stable: whoever stays, stays
// where they are; a leaver changes one chunk; newcomers go into the first chunk that has room.
//
// decide says of a subject that is bound now under what RBAC name it stays bound, or "" for not at all.
func pack(existing []*v1alpha1.AppRoleBinding, holders map[string]string, decide func(v1alpha1.AppRoleSubject) string) []chunk {
	slices.SortFunc(existing, func(a, b *v1alpha1.AppRoleBinding) int { return cmp.Compare(a.Spec.Index, b.Spec.Index) })
	chunks := make([]chunk, 0, len(existing)+1)
	placed := map[string]bool{}
	for _, binding := range existing {
		kept := chunk{index: binding.Spec.Index, existing: binding}
		for _, subject := range binding.Spec.Subjects {
			name := decide(subject)
			if name == "" || placed[subject.User] {
				continue
			}
			placed[subject.User] = true
			kept.subjects = append(kept.subjects, v1alpha1.AppRoleSubject{User: subject.User, Name: name})
		}
		chunks = append(chunks, kept)
	}
	next := 0
	for _, user := range slices.Sorted(maps.Keys(holders)) {
		if placed[user] {
			continue
		}
		for next < len(chunks) && len(chunks[next].subjects) >= maxSubjects {
			next++
		}
		if next == len(chunks) {
			chunks = append(chunks, chunk{index: freeIndex(chunks)})
		}
		chunks[next].subjects = append(chunks[next].subjects, v1alpha1.AppRoleSubject{User: user, Name: holders[user]})
	}
	for i := range chunks {
		slices.SortFunc(chunks[i].subjects, func(a, b v1alpha1.AppRoleSubject) int { return cmp.Compare(a.User, b.User) })
	}
	return chunks
}

// freeIndex returns the lowest index that no chunk has.
func freeIndex(chunks []chunk) int32 {
	var index int32
	for slices.ContainsFunc(chunks, func(c chunk) bool { return c.index == index }) {
		index++
	}
	return index
}
