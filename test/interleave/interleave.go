// Package interleave explores in which orders the store calls of several actors can happen, and which of them crash or get no
// answer: one random schedule a seed, the same each time. Tests of protocols that run in any number of processes use it.
//
// An actor is a coroutine that stops at each store call. The explorer lets one call happen at a time, so the store needs no
// lock, no step depends on the machine, and a schedule takes less than a millisecond: tests look at tens of thousands.
//
// Two libraries were looked at first. testing/synctest makes time and blocking deterministic, but the order of goroutines that
// can run stays the runtime's: a test can neither choose it, nor repeat it by a seed, nor end a goroutine in the middle of a
// function. pgregory.net/rapid draws choices and shrinks those of a failure, but runs code from its beginning to its end:
// stopping at a store call, the crashes and the late writes would be this code still. What is left for it to draw is one number
// a step, for which a seeded math/rand/v2 is enough: a failure prints its seed and the steps that led there.
package interleave

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
)

// ErrUnavailable is the answer that leaves open whether the write happened.
var ErrUnavailable = errors.New("the API server did not answer")

// errCrashed unwinds an actor that never continues.
var errCrashed = errors.New("crashed")

// Actor is one thread of control over a store S: a server's request or a controller at work. It stops at every store call
// until the schedule lets the call happen.
type Actor[S any] struct {
	name  string
	yield func(*call[S]) bool
	next  func() (*call[S], bool)
	stop  func()

	waiting *call[S]
	// inFlight counts writes that were sent, and answered by nothing, and have not happened yet.
	inFlight int
	over     bool
}

// call is one store call, waiting for its turn. apply has its effect; err is what the actor is told.
type call[S any] struct {
	what  string
	write bool
	apply func(*S) error
	err   error
}

// NewActor returns an actor that has not begun its script.
func NewActor[S any](name string, script func(*Actor[S])) *Actor[S] {
	a := &Actor[S]{name: name}
	a.next, a.stop = iter.Pull(func(yield func(*call[S]) bool) {
		defer func() {
			if reason := recover(); reason != nil && reason != any(errCrashed) {
				panic(reason)
			}
		}()
		a.yield = yield
		script(a)
	})
	return a
}

// Do is a store call: it stops the actor until the schedule has applied it, or has not. It returns what apply returned, or
// ErrUnavailable. It must be called by the actor's own script, and does not return where the actor crashes. apply must not keep
// what the actor may change later: a write that lands late would send that.
func (a *Actor[S]) Do(what string, write bool, apply func(*S) error) error {
	c := &call[S]{what: what, write: write, apply: apply}
	if !a.yield(c) {
		panic(errCrashed)
	}
	return c.err
}

// InFlight says whether a write of the actor may still happen that nothing has answered.
func (a *Actor[S]) InFlight() bool { return a.inFlight > 0 }

// Gone says that the actor's script is over, or crashed, and that no write of it can happen any more.
func (a *Actor[S]) Gone() bool { return a.over && a.inFlight == 0 }

// resume lets the actor run to its next store call.
func (a *Actor[S]) resume() {
	var alive bool
	a.waiting, alive = a.next()
	a.over = !alive
}

// crash ends the actor where it stands.
func (a *Actor[S]) crash() {
	a.stop()
	a.waiting, a.over = nil, true
}

// lateWrite is in flight for an actor that waits for it no longer.
type lateWrite[S any] struct {
	sender *Actor[S]
	call   *call[S]
}

// Explorer runs one schedule. Its store is as the last call left it.
type Explorer[S any] struct {
	// Random is the source of every choice. What a script chooses comes from it too.
	Random *rand.Rand
	Store  *S
	// Calm has no actor crash and every call answered.
	Calm bool
	// Applied, where it is set, is told of the actor after each effect that its call has on the store.
	Applied func(*Actor[S])
	// Left, where it is set, is told once of each actor of Start that is Gone.
	Left func(*Actor[S])

	actors []*Actor[S]
	late   []lateWrite[S]
	trace  []string
}

// New returns the explorer of the schedule that a seed stands for.
func New[S any](seed uint64, store *S) *Explorer[S] {
	return &Explorer[S]{Random: rand.New(rand.NewPCG(seed, 0x5ca1ab1e)), Store: store}
}

// Populate starts two to five actors, each with one to four works out of those given, and runs each to its first call.
func (e *Explorer[S]) Populate(works ...func(*Actor[S])) {
	for i := range 2 + e.Random.IntN(4) {
		e.actors = append(e.actors, NewActor(fmt.Sprintf("actor %d", i), func(a *Actor[S]) {
			for range 1 + e.Random.IntN(4) {
				works[e.Random.IntN(len(works))](a)
			}
		}))
	}
	for _, a := range e.actors {
		a.resume()
	}
	e.removeFinished()
}

// Running says whether a call can still happen.
func (e *Explorer[S]) Running() bool { return len(e.actors)+len(e.late) > 0 }

// Step lets one store call happen: of a random actor, or one that was in flight when its sender went away. In 8 of 100 writes,
// and in 2 of 100 reads, the actor crashes, or is told nothing.
func (e *Explorer[S]) Step() {
	turn := e.Random.IntN(len(e.actors) + len(e.late))
	if turn >= len(e.actors) {
		e.land(turn - len(e.actors))
		return
	}
	a := e.actors[turn]
	c := a.waiting
	switch fate := e.Random.IntN(100); {
	case fate >= 8 || !c.write && fate >= 2 || e.Calm:
		e.apply(a, c)
		a.resume()
	case fate == 0: // crashed before the call
		e.Note(a, "crashed before: %s", c.what)
		a.crash()
	case fate == 1: // crashed after it
		e.apply(a, c)
		e.Note(a, "crashed")
		a.crash()
	case fate < 4: // crashed with the call in flight
		e.Note(a, "crashed with in flight: %s", c.what)
		e.delay(a, c)
		a.crash()
	case fate == 4: // no answer, no effect
		e.Note(a, "got no answer, without effect: %s", c.what)
		c.err = ErrUnavailable
		a.resume()
	case fate == 5: // no answer, but an effect
		e.apply(a, c)
		e.Note(a, "got no answer")
		c.err = ErrUnavailable
		a.resume()
	default: // no answer, and the effect is still to come
		e.Note(a, "got no answer, in flight: %s", c.what)
		e.delay(a, c)
		c.err = ErrUnavailable
		a.resume()
	}
	e.removeFinished()
}

func (e *Explorer[S]) apply(a *Actor[S], c *call[S]) {
	c.err = c.apply(e.Store)
	if c.write || c.err != nil {
		e.Note(a, "%s: %v", c.what, c.err)
	}
	if e.Applied != nil {
		e.Applied(a)
	}
}

func (e *Explorer[S]) delay(a *Actor[S], c *call[S]) {
	a.inFlight++
	e.late = append(e.late, lateWrite[S]{a, c})
}

func (e *Explorer[S]) land(i int) {
	late := e.late[i]
	e.late = slices.Delete(e.late, i, i+1)
	late.sender.inFlight--
	e.Note(late.sender, "landed late: %s: %v", late.call.what, late.call.apply(e.Store))
	if e.Applied != nil {
		e.Applied(late.sender)
	}
	e.tellLeft(late.sender)
}

func (e *Explorer[S]) removeFinished() {
	var running []*Actor[S]
	for _, a := range e.actors {
		if !a.over {
			running = append(running, a)
		} else {
			e.tellLeft(a)
		}
	}
	e.actors = running
}

func (e *Explorer[S]) tellLeft(a *Actor[S]) {
	if e.Left != nil && a.Gone() {
		e.Left(a)
	}
}

// RunAlone runs an actor to its end, with no other at work and every call answered. After each call it asks check, which may be
// nil, and crashes the actor at its first error, which it returns.
func (e *Explorer[S]) RunAlone(a *Actor[S], check func() error) error {
	for a.resume(); !a.over; a.resume() {
		e.apply(a, a.waiting)
		if check == nil {
			continue
		}
		if err := check(); err != nil {
			a.crash()
			return err
		}
	}
	return nil
}

// Abandon unwinds the actors of a schedule that failed.
func (e *Explorer[S]) Abandon() {
	for _, a := range e.actors {
		a.crash()
	}
}

// Note adds a line to the history.
func (e *Explorer[S]) Note(a *Actor[S], format string, values ...any) {
	e.trace = append(e.trace, a.name+": "+fmt.Sprintf(format, values...))
}

// History returns the steps that led here, one a line.
func (e *Explorer[S]) History() string { return strings.Join(e.trace, "\n") }

// Pick returns one of several.
func (e *Explorer[S]) Pick(from []string) string { return from[e.Random.IntN(len(from))] }
