package flowcontrol

import "k8s.io/apimachinery/pkg/types"

// weights are the seats that a request takes: while no other App is active, and while one is.
var weights = map[Class]struct{ alone, shared int64 }{
	Removal: {2, 2},  // 32 at once
	LookUp:  {1, 4},  // 64, or 16
	Write:   {2, 16}, // 32, or 4
	List:    {4, 16}, // 16, or 4
}

const (
	// seatCost is what a write costs, in ordinary requests, that takes as many seats again while another App is active: a group of a
	// thousand members is in more than a hundred objects, and 16 of them are written at a time.
	seatCost = 8
	// mostSeats bounds the seats of one write: the App's look-ups need some.
	mostSeats = seats * 3 / 4
)

// weight is what a request of the App takes now. cost is that of so many ordinary requests.
func (a *Apps) weight(name types.NamespacedName, class Class, cost int) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.othersActive(name) {
		return weights[class].alone
	}
	shared := weights[class].shared
	if class == Write {
		return min(mostSeats, shared*int64(1+cost/seatCost))
	}
	return shared
}
