package informers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// exchangeKey is the key under which a request's context has its exchange.
type exchangeKey struct{}

// exchange is a request of a follower and its answer.
type exchange struct {
	*follower
	// takes says that the follower reads the events of a watch itself: events is the answer then, once it is there, and client-go,
	// which knows how to ask, gets one without events.
	takes  bool
	events io.ReadCloser
}

// filter leaves out of lists and watches what their followers cannot read. It does so only once a follower has met such an object:
// until then every byte passes as it is, and nothing is decoded twice.
type filter struct{ next http.RoundTripper }

func (f *filter) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := f.next.RoundTrip(request)
	exchange, _ := request.Context().Value(exchangeKey{}).(*exchange)
	if err != nil || exchange == nil || response.StatusCode != http.StatusOK ||
		!strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return response, err
	}
	query := request.URL.Query()
	if exchange.filters.Load() {
		response, err = exchange.filter(response, query)
	}
	if err == nil && exchange.takes && query.Get("watch") != "" {
		exchange.events, response.Body = response.Body, newSilence()
	}
	return response, err
}

// silence is an answer without content, until it is closed.
type silence struct {
	closed chan struct{}
	once   *sync.Once
}

func newSilence() silence { return silence{closed: make(chan struct{}), once: &sync.Once{}} }

func (s silence) Read([]byte) (int, error) {
	<-s.closed
	return 0, io.EOF
}

func (s silence) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// filter leaves out of an answer what the follower cannot read.
func (f *follower) filter(response *http.Response, query url.Values) (*http.Response, error) {
	initial := query.Get("sendInitialEvents") == "true"
	if initial || query.Get("watch") == "" && query.Get("continue") == "" {
		f.forget()
	}
	if query.Get("watch") != "" {
		response.Body = &eventStream{follower: f, body: response.Body, events: bufio.NewReader(response.Body), initial: initial}
		return response, nil
	}
	return f.filterList(response)
}

// WrappedRoundTripper lets client-go find what is wrapped.
func (f *filter) WrappedRoundTripper() http.RoundTripper { return f.next }

// filterList leaves unreadable items out of the answer to a list.
func (f *follower) filterList(response *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(response.Body)
	if closeErr := response.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	var list map[string]json.RawMessage
	var items []json.RawMessage
	if json.Unmarshal(body, &list) == nil && json.Unmarshal(list["items"], &items) == nil {
		readable := items[:0]
		for _, item := range items {
			if item, ok := f.reads(item); ok {
				readable = append(readable, item)
			}
		}
		if list["items"], err = json.Marshal(readable); err != nil {
			return nil, err
		}
		if body, err = json.Marshal(list); err != nil {
			return nil, err
		}
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	response.Header.Del("Content-Length")
	return response, nil
}

// eventStream is a watch's answer without the events of unreadable objects.
type eventStream struct {
	follower *follower
	body     io.Closer
	events   *bufio.Reader
	// initial is true before the end of the events that stand for a list.
	initial bool
	ready   []byte
}

func (s *eventStream) Close() error { return s.body.Close() }

func (s *eventStream) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		event, err := s.events.ReadBytes('\n')
		if len(bytes.TrimSpace(event)) > 0 {
			s.ready = s.passed(event)
		}
		if err != nil && len(s.ready) == 0 {
			return 0, err
		}
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// passed is the event as the follower may see it; nothing where it may not. If a known object becomes unreadable, it lists
// again. Its handlers are then told of the object's end, with the last readable state.
func (s *eventStream) passed(event []byte) []byte {
	var frame struct {
		Type   watch.EventType `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	if json.Unmarshal(event, &frame) != nil {
		return event
	}
	switch frame.Type {
	case watch.Added, watch.Modified, watch.Deleted:
	case watch.Bookmark:
		var bookmark identity
		if json.Unmarshal(frame.Object, &bookmark) == nil && bookmark.Metadata.Annotations[metav1.InitialEventsAnnotationKey] == "true" {
			s.initial = false
		}
		return event
	default:
		return event
	}
	skipped := s.follower.skips(frame.Object)
	if frame.Type == watch.Deleted {
		defer s.follower.gone(frame.Object)
		if skipped {
			return nil
		}
	}
	object, readable := s.follower.reads(frame.Object)
	switch {
	case readable:
		return fmt.Appendf(nil, `{"type":%q,"object":%s}`+"\n", frame.Type, object)
	case s.initial, skipped, frame.Type == watch.Added:
		return nil
	default:
		return fmt.Appendf(nil, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":%q,"code":%d,"message":%q}}`+"\n",
			metav1.StatusReasonExpired, http.StatusGone, unreadableMessage)
	}
}

const unreadableMessage = "an object cannot be decoded any more: list again without it"

// following puts a follower into a request's context.
func following(ctx context.Context, f *follower) context.Context {
	return exchanging(ctx, &exchange{follower: f})
}

func exchanging(ctx context.Context, x *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}
