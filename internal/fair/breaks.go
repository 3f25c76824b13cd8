package fair

import (
	"math"
	"sync"
	"time"
)

const (
	// halfLife is after how long what an App took counts half.
	halfLife = 2 * time.Second
	// forgotten is what is too little to count.
	forgotten = 10 * time.Microsecond
	// maxBreak bounds one break.
	maxBreak = 500 * time.Millisecond
)

// halfASlot is what an App has taken that holds a slot half of the time.
const halfASlot = halfLife * 72 / 100 // halfLife / ln 2 / 2

// tenthOfASlot is what an App has taken that slows down no longer.
const tenthOfASlot = halfASlot / 5

// Pace is the part of the full speed at which Apps go on that ask for more than others, from 0 to 1.
type Pace interface{ Share() float64 }

// Speed decides which Apps slow down: it knows what each took lately of all the Slots that share it. Use NewSpeed. Safe for concurrent
// use; its memory is bounded by the number of Apps that held a slot in the last minute.
type Speed struct {
	pace  Pace
	mutex sync.Mutex
	used  map[Lane]*usage
}

// NewSpeed returns a speed that follows a pace.
func NewSpeed(pace Pace) *Speed { return &Speed{pace: pace, used: map[Lane]*usage{}} }

// usage is the time for which an App held slots; it halves with every halfLife.
type usage struct {
	took time.Duration
	at   time.Time
	// slowed says that the App slows down.
	slowed bool
}

func (u *usage) now(now time.Time) time.Duration {
	return time.Duration(float64(u.took) * math.Exp2(-float64(now.Sub(u.at))/float64(halfLife)))
}

func (s *Speed) add(lane Lane, took time.Duration, now time.Time) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	used := s.used[lane]
	if used == nil {
		used = &usage{at: now}
		s.used[lane] = used
	}
	used.took, used.at = used.now(now)+took, now
}

// slows says whether an App takes more than others do on average: it begins to slow down above half a slot, and ends below a tenth.
func (s *Speed) slows(lane Lane, now time.Time) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var all, own time.Duration
	for one, used := range s.used {
		took := used.now(now)
		if took < forgotten {
			delete(s.used, one)
			continue
		}
		all += took
		if one == lane {
			own = took
		}
	}
	used := s.used[lane]
	if used == nil {
		return false
	}
	used.slowed = (own > halfASlot || used.slowed && own > tenthOfASlot) && own*time.Duration(len(s.used)) > all
	return used.slowed
}

// breaks has an App that slows down pause after what it did. Slots' mutex guards it.
type breaks struct {
	speed *Speed
	// full is how many places an App has at full speed, most what it has at most beside others, and least what it keeps: less than one is
	// a part of the time.
	full, most, least float64
	// resting counts the breaks under way of each App.
	resting map[Lane]int
}

// Paced has Apps that take more than others do make breaks: beside another App, one that takes more than the average, and more than half a
// slot, gets the pace's part of what it would get alone, at most so many places and at least so many. Fractions of a place are a part
// of the time. An App that is alone never pauses. Call it before the first Acquire; a nil Speed changes nothing.
func (s *Slots) Paced(speed *Speed, most, least float64) *Slots {
	if speed != nil {
		full := max(1, float64(s.shares.capacity*weight/(weight+1)))
		s.breaks = &breaks{speed: speed, full: full, most: most, least: least, resting: map[Lane]int{}}
	}
	return s
}

// places is how many places an App may take now; ok is false where it may take what it gets.
func (b *breaks) places(lane Lane, now time.Time) (places float64, ok bool) {
	if !b.speed.slows(lane, now) {
		return 0, false
	}
	return min(b.most, max(b.least, b.full*b.speed.pace.Share())), true
}

// admits says whether an App that holds so many places may take another one.
func (b *breaks) admits(lane Lane, held int, now time.Time) bool {
	places, slowed := b.places(lane, now)
	return !slowed || float64(held+b.resting[lane]) < max(1, math.Floor(places))
}

// rest has the App pause after it held a place for so long, where it may take less than one.
func (s *Slots) rest(lane Lane, took time.Duration) {
	b, now := s.breaks, time.Now()
	b.speed.add(lane, took, now)
	places, slowed := b.places(lane, now)
	if !slowed || places >= 1 {
		return
	}
	b.resting[lane]++
	time.AfterFunc(min(maxBreak, time.Duration(float64(took)*(1/places-1))), func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if b.resting[lane]--; b.resting[lane] == 0 {
			delete(b.resting, lane)
		}
		s.serve()
	})
}
