package fair

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An App that is edited five times a second is acted on once a second, the last edit included, and other Apps' edits at once.
func TestEditsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var edits Edits
		var mutex sync.Mutex
		acted := map[int]time.Duration{}
		begun := time.Now()
		const rounds = 51 // ten seconds, and the first
		for i := range rounds {
			edits.Do(Lane{Name: "busy"}, func() {
				mutex.Lock()
				defer mutex.Unlock()
				acted[i] = time.Since(begun)
			})
			if i < rounds-1 {
				time.Sleep(200 * time.Millisecond)
			}
		}
		other := false
		edits.Do(Lane{Name: "other"}, func() { other = true })
		if !other {
			t.Error("another App's edit waits")
		}
		time.Sleep(3 * editInterval)
		mutex.Lock()
		defer mutex.Unlock()
		if at, done := acted[0]; !done || at != 0 {
			t.Errorf("the first edit was acted on after %s, %t", at, done)
		}
		if at, done := acted[rounds-1]; !done || at > 11*time.Second {
			t.Errorf("the last edit was acted on after %s, %t", at, done)
		}
		if len(acted) < 10 || len(acted) > 12 {
			t.Errorf("acted %d times in ten seconds", len(acted))
		}
		again := false
		edits.Do(Lane{Name: "busy"}, func() { again = true })
		if !again {
			t.Error("an edit after a pause waits")
		}
		time.Sleep(3 * editInterval)
		edits.mutex.Lock()
		defer edits.mutex.Unlock()
		if len(edits.next) != 0 {
			t.Errorf("%d Apps are remembered", len(edits.next))
		}
	})
}
