package directory

import (
	"context"
	"slices"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// search is how users, or groups, are found that a bound filter matches.
type search[T any] struct {
	// scan hands everything that is in memory to visit, in the order of lists, until that returns false; inMemory says what of
	// it matches.
	scan     func(visit func(T) bool)
	inMemory func(T) (bool, error)
	// lookUp answers what the filter asks for by live reads; matches says which of the answers the whole filter matches.
	lookUp  func(protocol.Lookup) ([]T, error)
	matches func(T) (bool, error)
	// compare is the order of lists.
	compare func(a, b T) int
}

// find returns what the filter matches, each once, in the order of lists, at the pace of ctx.
func (s search[T]) find(ctx context.Context, filter *protocol.Filter) (matching []T, err error) {
	step := pace(ctx)
	keep := func(one T, matches func(T) (bool, error)) bool {
		if err = step(); err != nil {
			return false
		}
		var match bool
		if match, err = matches(one); match && err == nil {
			matching = append(matching, one)
		}
		return err == nil
	}
	lookups, exact := filter.Lookups()
	if lookups == nil {
		s.scan(func(one T) bool { return keep(one, s.inMemory) })
		return matching, err
	}
	var all []T
	for _, lookup := range lookups {
		some, err := s.lookUp(lookup)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, s.compare)
	all = slices.CompactFunc(all, func(a, b T) bool { return s.compare(a, b) == 0 })
	if exact {
		return all, nil
	}
	for _, one := range all {
		if !keep(one, s.matches) {
			return nil, err
		}
	}
	return matching, nil
}
