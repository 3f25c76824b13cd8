package membership

import (
	"maps"
	"slices"
)

// Delta is a change of a group's members: what is said of each id, and what becomes of the others. The zero value changes
// nothing.
type Delta struct {
	// replace: an id that is not wanted is a member no more.
	replace bool
	// wanted says of an id whether it shall be a member.
	wanted map[string]bool
}

// Add makes ids members.
func (d *Delta) Add(ids ...string) { d.set(ids, true) }

// Remove makes ids strangers.
func (d *Delta) Remove(ids ...string) { d.set(ids, false) }

// Replace makes these ids the only members.
func (d *Delta) Replace(ids ...string) {
	*d = Delta{replace: true}
	d.set(ids, true)
}

func (d *Delta) set(ids []string, member bool) {
	if d.wanted == nil {
		d.wanted = make(map[string]bool, len(ids))
	}
	for _, id := range ids {
		if member || !d.replace {
			d.wanted[id] = member
		} else {
			delete(d.wanted, id)
		}
	}
}

// Then makes d the change that d, and after it later, make together.
func (d *Delta) Then(later Delta) {
	if later.replace {
		*d = Delta{replace: true, wanted: maps.Clone(later.wanted)}
		return
	}
	for id, member := range later.wanted {
		d.set([]string{id}, member)
	}
}

// IsZero says that the delta changes nothing, whatever the members are.
func (d Delta) IsZero() bool { return !d.replace && len(d.wanted) == 0 }

// apply returns the members after the change, sorted and each once, and whether that is another set than before.
func (d Delta) apply(members []string) (next []string, changed bool) {
	held := make(map[string]bool, len(members))
	next = make([]string, 0, len(members)+len(d.wanted))
	for _, id := range members {
		if held[id] {
			continue
		}
		held[id] = true
		member, said := d.wanted[id]
		if member || !said && !d.replace {
			next = append(next, id)
		} else {
			changed = true
		}
	}
	for id, member := range d.wanted {
		if member && !held[id] {
			next, changed = append(next, id), true
		}
	}
	slices.Sort(next)
	return next, changed
}

// Wants returns what the delta says of an id: whether it shall be a member, and whether it says anything.
func (d Delta) Wants(id string) (member, said bool) {
	member, said = d.wanted[id]
	return member, said || d.replace
}

// adds says whether the delta may add a member.
func (d Delta) adds() bool {
	for _, member := range d.wanted {
		if member {
			return true
		}
	}
	return false
}

// split returns the delta of each shard that the delta touches, by index.
func (d Delta) split() map[int]Delta {
	parts := make(map[int]Delta, min(Shards, len(d.wanted)))
	if d.replace {
		for index := range Shards {
			parts[index] = Delta{replace: true}
		}
	}
	for id, member := range d.wanted {
		index := ShardOf(id)
		part := parts[index]
		part.set([]string{id}, member)
		parts[index] = part
	}
	return parts
}
