package process

import (
	"bytes"
	"sync"
)

const tailLimit = 8 << 10

// tailBuffer keeps the last tailLimit bytes that were written to it.
type tailBuffer struct {
	mu   sync.Mutex
	data []byte
}

func (t *tailBuffer) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, b...)
	if len(t.data) > 2*tailLimit {
		t.data = append(t.data[:0], t.data[len(t.data)-tailLimit:]...)
	}
	return len(b), nil
}

// String returns whole lines: a first line that was cut is left out.
func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	data := t.data
	if len(data) > tailLimit {
		data = data[len(data)-tailLimit:]
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			data = data[i+1:]
		}
	}
	return string(data)
}
