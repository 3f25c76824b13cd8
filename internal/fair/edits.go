package fair

import (
	"sync"
	"time"
)

// editInterval is the least time between two reactions to edits of one App.
const editInterval = time.Second

// Edits gathers the edits of each App: the first is acted on at once, and all that follow within editInterval once, at its end. An
// App that is edited again and again has its users evaluated no more often. The zero value is ready to use, by any number of goroutines;
// its memory is bounded by the number of Apps that were edited in the last interval.
type Edits struct {
	mutex sync.Mutex
	// next is what is to be done for an App at the end of its interval; nil for nothing.
	next map[Lane]func()
}

// Do calls act at once, or at the end of the interval. Of those that wait for one App only the last is called: act must look at
// the App as it is by then. It may be called by another goroutine.
func (e *Edits) Do(app Lane, act func()) {
	e.mutex.Lock()
	if _, recently := e.next[app]; recently {
		e.next[app] = act
		e.mutex.Unlock()
		return
	}
	e.begin(app)
	e.mutex.Unlock()
	act()
}

// begin has an interval begin. The caller holds the mutex.
func (e *Edits) begin(app Lane) {
	if e.next == nil {
		e.next = map[Lane]func(){}
	}
	e.next[app] = nil
	time.AfterFunc(editInterval, func() { e.end(app) })
}

func (e *Edits) end(app Lane) {
	e.mutex.Lock()
	act := e.next[app]
	delete(e.next, app)
	if act != nil {
		e.begin(app)
	}
	e.mutex.Unlock()
	if act != nil {
		act()
	}
}
