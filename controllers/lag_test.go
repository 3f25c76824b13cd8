package controllers_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/membership"
)

// The informer of Users may be behind the status that the controller wrote itself. What a group takes is held all the same: it
// does not look like the person's own change.
func TestRemovalIsHeldBehindTheInformer(t *testing.T) {
	w := newStoppedWorld(t, guarded(1, byGroups("Staff")))
	statuses := newGate("users", func(event []byte) bool { return bytes.Contains(event, []byte(`"observedGeneration":2`)) })
	w.config.Wrap(statuses.wrap)
	w.start()
	users, ids := w.staff(4)
	g := w.push("Staff", membership.InlineLimit, ids...)
	w.eventually(func() string { return unless(w.peopleBound() == 4, "four people are bound") })
	for _, user := range users {
		w.eventuallyGranted(user)
	}
	update(w, users[0], func(u *v1alpha1.User) { u.Spec.Title = "Dr" })
	w.eventuallyGranted(users[0])
	statuses.eventuallyHolds(w)

	w.setMembers(g)
	w.eventually(func() string { return unless(w.peopleBound() < 4, "a user is bound no more") })
	statuses.open()
	w.eventuallyRemovals(1, 3, 3)
	w.eventually(func() string {
		return unless(len(w.heldOf(users)) == 3, "the status of three people tells that they are held")
	})
}

// gate holds back the events of watches of one resource, from the first one of its kind until it is opened.
type gate struct {
	resource string
	holds    func(event []byte) bool
	opened   chan struct{}
	open     func()

	mutex sync.Mutex
	held  int
}

func newGate(resource string, holds func(event []byte) bool) *gate {
	g := &gate{resource: resource, holds: holds, opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	return g
}

// eventuallyHolds waits until the informer is behind.
func (g *gate) eventuallyHolds(w *world) {
	w.Helper()
	w.eventually(func() string {
		g.mutex.Lock()
		defer g.mutex.Unlock()
		return unless(g.held > 0, "an event is held back")
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func (g *gate) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		query := request.URL.Query()
		isWatch := query.Get("watch") == "true" || query.Get("watch") == "1"
		if err != nil || !isWatch || !strings.Contains(request.URL.Path, v1alpha1.GroupVersion.String()) || !strings.HasSuffix(request.URL.Path, "/"+g.resource) {
			return response, err
		}
		response.Body = g.filter(request, response.Body)
		return response, nil
	})
}

// filter passes a watch on, event by event: each is a line.
func (g *gate) filter(request *http.Request, body io.ReadCloser) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() {
		lines := bufio.NewReader(body)
		for {
			line, err := lines.ReadBytes('\n')
			if g.holds(line) {
				g.mutex.Lock()
				g.held++
				g.mutex.Unlock()
				select {
				case <-g.opened:
				case <-request.Context().Done():
				}
			}
			if _, failed := writer.Write(line); failed != nil || err != nil {
				_ = writer.CloseWithError(err)
				return
			}
		}
	}()
	return struct {
		io.Reader
		io.Closer
	}{reader, closers{reader, body}}
}

type closers []io.Closer

func (c closers) Close() error {
	var err error
	for _, closer := range c {
		err = closer.Close()
	}
	return err
}
