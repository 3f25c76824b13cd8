package informers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// strictThing is an object with a field that Go reads more strictly than a schema might.
type strictThing struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Window metav1.Duration `json:"window"`
	} `json:"spec"`
}

func newFollower(w *Watches) *follower {
	return &follower{watches: w, of: reflect.TypeFor[strictThing](), kind: schema.GroupVersionKind{Kind: "Thing"}, skipped: map[types.NamespacedName]struct{}{}}
}

// object in JSON. Its version tells what is new; a window such as 1d cannot be read.
func object(name, version, window string) string {
	return fmt.Sprintf(`{"metadata":{"namespace":"ns","name":%q,"resourceVersion":%q},"spec":{"window":%q}}`, name, version, window)
}

func event(kind, object string) string {
	return fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", kind, object)
}

const expired = `"reason":"Expired"`

// A watch passes no event of an object that cannot be read, unless the follower knows the object: then it must list again.
func TestEventsOfUnreadableObjects(t *testing.T) {
	w := &Watches{}
	s := &eventStream{follower: newFollower(w)}
	for i, step := range []struct {
		event, want string // want "" for nothing, same for the event itself
		unreadable  int
	}{
		{event("ADDED", object("a", "1", "1h")), "same", 0},
		{event("ADDED", object("b", "2", "1d")), "", 1},
		{event("MODIFIED", object("b", "3", "2d")), "", 1},
		{event("MODIFIED", object("a", "4", "1d")), expired, 2}, // the informer has it as it was
		{event("MODIFIED", object("b", "5", "2h")), "same", 1},
		{event("MODIFIED", object("b", "6", "2d")), expired, 2},
		{event("DELETED", object("b", "7", "2d")), "", 1}, // left out since
		{event("DELETED", object("c", "8", "1h")), "same", 1},
		{event("ADDED", object("d", "8", "1d")), "", 2},
		{event("DELETED", object("d", "9", "1h")), "", 1}, // nothing knows it
		{event("BOOKMARK", object("", "9", "1h")), "same", 1},
		{"no JSON\n", "same", 1},
	} {
		got := string(s.passed([]byte(step.event)))
		want := step.want
		if want == "same" {
			want = step.event
		}
		if got != want && (want != expired || !strings.Contains(got, expired)) {
			t.Errorf("step %d: passed %q, want %q", i, got, want)
		}
		if left := len(w.Unreadable()); left != step.unreadable {
			t.Errorf("step %d: %d objects are unreadable, want %d", i, left, step.unreadable)
		}
	}
}

// While the events of a watch stand for a list nothing is known yet: what cannot be read is left out, whatever its event.
func TestInitialEvents(t *testing.T) {
	s := &eventStream{follower: newFollower(&Watches{}), initial: true}
	if got := s.passed([]byte(event("MODIFIED", object("a", "1", "1d")))); len(got) > 0 {
		t.Errorf("passed %q", got)
	}
	s.passed([]byte(event("BOOKMARK", `{"metadata":{"resourceVersion":"2","annotations":{"`+metav1.InitialEventsAnnotationKey+`":"true"}}}`)))
	if s.initial {
		t.Error("the end of the list is not seen")
	}
}

// answers is what the API server answers to one request after the other.
type answers []string

func (a *answers) RoundTrip(*http.Request) (*http.Response, error) {
	body := (*a)[0]
	*a = (*a)[1:]
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// ask returns what a follower gets of an answer.
func ask(t *testing.T, f *follower, query, answer string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(following(context.Background(), f), http.MethodGet, "http://api/things?"+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&filter{next: &answers{answer}}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A list lacks what cannot be read; each list begins anew to know that, and each page after the first goes on.
func TestListsOfUnreadableObjects(t *testing.T) {
	w := &Watches{}
	f := newFollower(w)
	list := func(objects ...string) string {
		return `{"items":[` + strings.Join(objects, ",") + `],"metadata":{"continue":"x"}}`
	}
	unreadable, readable := object("a", "1", "1d"), object("b", "1", "1h")
	if got := ask(t, f, "", list(unreadable, readable)); !strings.Contains(got, `"a"`) {
		t.Errorf("a follower that has met nothing unreadable gets %s", got)
	}
	f.filters.Store(true)
	for i, step := range []struct {
		query, answer string
		want          int // objects that are unreadable after it
	}{
		{"", list(unreadable, readable), 1},
		{"continue=x", list(object("c", "1", "1d")), 2},
		{"watch=true", event("ADDED", object("d", "1", "1d")), 3},
		{"", list(readable), 0},
		{"", list(unreadable), 1},
		{"watch=true&sendInitialEvents=true", event("ADDED", readable), 0},
	} {
		got := ask(t, f, step.query, step.answer)
		for _, name := range []string{`"a"`, `"c"`, `"d"`} {
			if strings.Contains(got, name) {
				t.Errorf("step %d: %s", i, got)
			}
		}
		if strings.Contains(step.answer, `"b"`) && !strings.Contains(got, `"b"`) {
			t.Errorf("step %d lacks what can be read: %s", i, got)
		}
		if left := len(w.Unreadable()); left != step.want {
			t.Errorf("step %d: %d objects are unreadable, want %d", i, left, step.want)
		}
	}
}

// An object is told of once for each of its versions, and is unreadable until no follower meets it any more.
func TestUnreadableObjectsOfTwoFollowers(t *testing.T) {
	w := &Watches{}
	told := 0
	w.Tell(func(UnreadableError) { told++ })
	one, two := newFollower(w), newFollower(w)
	for _, f := range []*follower{one, two, one} {
		f.reads([]byte(object("a", "1", "1d")))
	}
	if told != 1 {
		t.Errorf("told %d times of one version", told)
	}
	one.reads([]byte(object("a", "2", "2d")))
	if told != 2 {
		t.Errorf("told %d times of two versions", told)
	}
	one.reads([]byte(object("a", "3", "1h")))
	if len(w.Unreadable()) != 1 {
		t.Error("the second follower still skips it")
	}
	two.reads([]byte(object("a", "3", "1h")))
	if len(w.Unreadable()) != 0 {
		t.Error("both read it")
	}
}

// An answer is undecodable where it came whole and says no status: a list that failed on its way is tried again as it is.
func TestIsUndecodable(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"the decoder's":  {errors.New("unable to decode"), true},
		"a status":       {apierrors.NewForbidden(schema.GroupResource{}, "", nil), false},
		"on its way":     {&url.Error{Op: "Get", Err: io.ErrUnexpectedEOF}, false},
		"of the network": {&net.OpError{Op: "read", Err: errors.New("reset")}, false},
		"too late":       {context.DeadlineExceeded, false},
		"ended":          {context.Canceled, false},
		"no time":        {http.ErrHandlerTimeout, false},
	} {
		if got := isUndecodable(c.err); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// A watch has failed since its first failure, whatever the last one says.
func TestFailingSince(t *testing.T) {
	w := &Watches{}
	f := newFollower(w)
	f.note(t.Context(), io.ErrUnexpectedEOF)
	since := w.Failing()[0].Since
	f.note(t.Context(), io.ErrClosedPipe)
	failing := w.Failing()
	if len(failing) != 1 || !failing[0].Since.Equal(since) || failing[0].Err != io.ErrClosedPipe { //nolint:errorlint // as it was noted
		t.Errorf("failing %+v, since %s", failing, since)
	}
	f.note(t.Context(), nil)
	if len(w.Failing()) > 0 {
		t.Error("it still fails after a success")
	}
}
