package approlebinding

import (
	"cmp"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
)

const (
	// maxSubjects is how far an AppRoleBinding is filled, and so each native binding made from it: about 25 kB. Its schema
	// admits 1000. Whoever comes or goes has their objects written whole, by several programs; and each object costs as
	// much as a dozen subjects wherever all of them are read.
	maxSubjects = 250
)

// member is one person of a chunk.
type member struct {
	v1alpha1.AppRoleSubject
	// current says that the person was evaluated for the App as it is. Others keep the native bindings in which they
	// are, and get into no other.
	current bool
	// unevaluated says that this process has not evaluated the person for any state.
	unevaluated bool
	// kept says of one who is not current that this is so until somebody decides otherwise: nothing waits for it.
	kept bool
	// before is the person's Kubernetes group as it was recorded: native bindings may name it until they are rewritten.
	before string
	// formerly are the RBAC user names, the present one among them, of somebody who is kept and was renamed: the native
	// bindings that name them are the person's.
	formerly []string
}

// native is the RBAC subject that stands for the person.
func (m *member) native() rbacv1.Subject {
	if m.Group != "" {
		return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: m.Group}
	}
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: m.Name}
}

// natives are all RBAC subjects that may stand for the person while bindings are being rewritten.
func (m *member) natives() []rbacv1.Subject {
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: m.Name}}
	for _, group := range []string{m.Group, m.before} {
		if group != "" {
			subjects = append(subjects, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: group})
		}
	}
	return subjects
}

// isReserved says of a subject that it must never be bound.
func isReserved(subject v1alpha1.AppRoleSubject) bool {
	return names.IsReserved(subject.Name) || names.IsReserved(subject.Group)
}

// chunk is the part of a key's people that one AppRoleBinding holds.
type chunk struct {
	index int32
	// existing is the AppRoleBinding as it is; nil where there is none.
	existing *v1alpha1.AppRoleBinding
	// members that it should hold, sorted by user; not set where the chunk is not touched.
	members []member
	// size is how many people are in it.
	size int
	// touched says that the run looks at this chunk; of the others it only knows that they are there.
	touched bool
	// hasRemovals says that a user leaves the chunk, or is bound under another subject from now on.
	hasRemovals bool

	allowed    map[rbacv1.Subject]bool
	successors map[rbacv1.Subject][]rbacv1.Subject
}

// subjects are the members as an AppRoleBinding has them.
func (c *chunk) subjects() []v1alpha1.AppRoleSubject {
	subjects := make([]v1alpha1.AppRoleSubject, len(c.members))
	for i := range c.members {
		subjects[i] = c.members[i].AppRoleSubject
	}
	return subjects
}

// mayName says whether a native binding of the chunk may name a subject for now.
func (c *chunk) mayName(subject rbacv1.Subject) bool {
	if c.allowed == nil {
		c.allowed = make(map[rbacv1.Subject]bool, len(c.members))
		for i := range c.members {
			for _, subject := range c.members[i].natives() {
				c.allowed[subject] = true
			}
		}
	}
	return c.allowed[subject]
}

// successorsOf returns the RBAC subjects that stand now for those who are kept and for whom a native binding's subjects stood
// before they were renamed. A subject that stands for somebody of the chunk is nobody's former one.
func (c *chunk) successorsOf(subjects ...rbacv1.Subject) (successors []rbacv1.Subject) {
	if c.successors == nil {
		c.successors = map[rbacv1.Subject][]rbacv1.Subject{}
		for i := range c.members {
			m := &c.members[i]
			for _, name := range m.formerly {
				former := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
				c.successors[former] = append(c.successors[former], m.native())
			}
		}
	}
	for _, subject := range subjects {
		if len(c.successors[subject]) > 0 && !c.mayName(subject) {
			successors = append(successors, c.successors[subject]...)
		}
	}
	return successors
}

// wanted returns whom a native binding that the App asks for should name, sorted, and whether somebody is left out until
// they have been evaluated for the App as it is. existing are those that it names.
func (c *chunk) wanted(existing []rbacv1.Subject) (subjects []rbacv1.Subject, waiting bool) {
	var named map[rbacv1.Subject]bool
	for i := range c.members {
		m := &c.members[i]
		if m.current {
			subjects = append(subjects, m.native())
			continue
		}
		if named == nil {
			named = setOf(existing)
		}
		for _, subject := range m.natives() {
			if named[subject] {
				subjects = append(subjects, subject)
			}
		}
		waiting = waiting || !m.kept && !named[m.native()]
	}
	return sorted(append(subjects, c.successorsOf(existing...)...)), waiting
}

// retained returns whom a native binding that the App does not ask for any more keeps: those who were not evaluated for
// the App as it is, and whether one of them waits for that.
func (c *chunk) retained(existing []rbacv1.Subject) (subjects []rbacv1.Subject, waiting bool) {
	named := setOf(existing)
	for i := range c.members {
		if c.members[i].current {
			continue
		}
		for _, subject := range c.members[i].natives() {
			if named[subject] {
				subjects = append(subjects, subject)
				waiting = waiting || !c.members[i].kept
			}
		}
	}
	return sorted(append(subjects, c.successorsOf(existing...)...)), waiting
}

func setOf(subjects []rbacv1.Subject) map[rbacv1.Subject]bool {
	set := make(map[rbacv1.Subject]bool, len(subjects))
	for _, subject := range subjects {
		set[subject] = true
	}
	return set
}

// sorted orders subjects and leaves out what is there twice: people share groups.
func sorted(subjects []rbacv1.Subject) []rbacv1.Subject {
	slices.SortFunc(subjects, func(a, b rbacv1.Subject) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(subjects)
}

// packing says who is to be in the chunks.
type packing struct {
	// touched says which chunks to look at; nil for all. The others stay as they are.
	touched func(*v1alpha1.AppRoleBinding) bool
	// decide says of a subject that is bound now under what it stays bound, or that it does not.
	decide func(v1alpha1.AppRoleSubject) (m member, stays bool)
	// newcomers are to be bound, too, by their User objects' names; none of them is in a chunk that is not touched, and
	// they get no place in one.
	newcomers map[string]member
}

// pack decides who is in which chunk. The existing bindings are the packing, so that it is stable: whoever stays, stays
// where they are; a leaver changes one chunk; newcomers go into the first chunk that has room.
func (p packing) pack(existing []*v1alpha1.AppRoleBinding) []chunk {
	slices.SortFunc(existing, func(a, b *v1alpha1.AppRoleBinding) int { return cmp.Compare(a.Spec.Index, b.Spec.Index) })
	chunks := make([]chunk, 0, len(existing)+1)
	placed := map[string]bool{}
	for _, binding := range existing {
		kept := chunk{index: binding.Spec.Index, existing: binding, size: len(binding.Spec.Subjects)}
		if p.touched == nil || p.touched(binding) {
			p.keep(&kept, placed)
		}
		chunks = append(chunks, kept)
	}
	next := 0
	for _, user := range slices.Sorted(maps.Keys(p.newcomers)) {
		if placed[user] || isReserved(p.newcomers[user].AppRoleSubject) {
			continue
		}
		for next < len(chunks) && (chunks[next].size >= maxSubjects || !chunks[next].touched) {
			next++
		}
		if next == len(chunks) {
			chunks = append(chunks, chunk{index: freeIndex(chunks), touched: true})
		}
		chunks[next].members = append(chunks[next].members, p.newcomers[user])
		chunks[next].size++
	}
	for i := range chunks {
		slices.SortFunc(chunks[i].members, func(a, b member) int { return cmp.Compare(a.User, b.User) })
	}
	return chunks
}

// keep decides who of those who are in a chunk stays in it.
func (p packing) keep(c *chunk, placed map[string]bool) {
	c.touched = true
	c.members = make([]member, 0, len(c.existing.Spec.Subjects)+1)
	for _, subject := range c.existing.Spec.Subjects {
		m, stays := p.decide(subject)
		if !stays || placed[subject.User] || isReserved(m.AppRoleSubject) {
			c.hasRemovals = true
			continue
		}
		placed[subject.User] = true
		m.before = subject.Group
		c.hasRemovals = c.hasRemovals || m.Name != subject.Name
		c.members = append(c.members, m)
	}
	c.size = len(c.members)
}

// freeIndex returns the lowest index that no chunk has.
func freeIndex(chunks []chunk) int32 {
	var index int32
	for slices.ContainsFunc(chunks, func(c chunk) bool { return c.index == index }) {
		index++
	}
	return index
}
