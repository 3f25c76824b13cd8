package fair

import "k8s.io/apimachinery/pkg/types"

const (
	// weight is how many places an App may hold for each one that is free: alone it gets three quarters of all.
	weight = 3
	// lastShare is the part of all places, one in so many, that is kept for Apps that hold none: where very many Apps have
	// their share each, the rest would be taken, too.
	lastShare = 16
)

// Lane is the App that work is for. If the name of the App is not known, the lane is its namespace.
type Lane = types.NamespacedName

// shares counts the places that each lane holds. The places of the Apps of one namespace count together, too: a tenant that
// makes more Apps gets no more.
type shares struct {
	capacity   int
	taken      int
	lanes      map[Lane]int
	namespaces map[string]int
	// perLane bounds the places of one lane; 0 for no other bound than its share.
	perLane int
}

func newShares(capacity, perLane int) shares {
	return shares{capacity: capacity, perLane: perLane, lanes: map[Lane]int{}, namespaces: map[string]int{}}
}

// admits says whether a lane may take another place while free of them are.
func (s *shares) admits(lane Lane, free int) bool {
	if free = min(free, s.capacity-s.taken); free <= 0 || s.perLane > 0 && s.lanes[lane] >= s.perLane {
		return false
	}
	if free <= s.capacity/lastShare {
		return s.namespaces[lane.Namespace] == 0
	}
	return s.namespaces[lane.Namespace] < weight*free // an App has no more than its namespace
}

func (s *shares) take(lane Lane) {
	s.taken++
	s.lanes[lane]++
	s.namespaces[lane.Namespace]++
}

func (s *shares) release(lane Lane) {
	s.taken--
	if s.lanes[lane]--; s.lanes[lane] == 0 {
		delete(s.lanes, lane)
	}
	if s.namespaces[lane.Namespace]--; s.namespaces[lane.Namespace] == 0 {
		delete(s.namespaces, lane.Namespace)
	}
}
