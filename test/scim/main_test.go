// Package scim_test holds the operator against RFC 7643, 7644 and 9865 as a client does that is neither Okta's nor
// Entra's and uses all of SCIM: versions, sorting, cursors, searches, bulk, discovery. It drives the operator as
// test/okta does, with a real server and a real controller.
package scim_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// patience bounds every wait for a watch or the controller, on a busy machine: the product aims at a second.
const patience = time.Minute

var operator *harness.Harness

func TestMain(m *testing.M) { harness.Main(m, &operator) }

// scim is a client of one App.
type scim struct {
	t    *testing.T
	app  harness.App
	http *okta.Client
}

// newClient returns a client of a new App in a namespace of its own. change may be nil.
func newClient(t *testing.T, change func(*v1alpha1.AppSpec)) *scim {
	t.Helper()
	operator.ShowOnFailure(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "generic", change)
	return &scim{t: t, app: app, http: operator.Client(operator.Server, "/scim/v2", app, okta.Template)}
}

// on is the client in a subtest.
func (s *scim) on(t *testing.T) *scim { return &scim{t: t, app: s.app, http: s.http} }

// do sends one request and fails the test where the answer is no proper SCIM message.
func (s *scim) do(method, target, body string, edits ...okta.Edit) *okta.Exchange {
	s.t.Helper()
	var content []byte
	if body != "" {
		content = []byte(body)
	}
	exchange, err := s.http.Do(s.t.Context(), method, target, content, append([]okta.Edit{okta.WithHeader("User-Agent", "")}, edits...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return exchange
}

// get expects 200.
func (s *scim) get(target string) *okta.Exchange {
	s.t.Helper()
	exchange := s.do(http.MethodGet, target, "")
	s.must(exchange.ExpectStatus(http.StatusOK))
	return exchange
}

// list expects a list response.
func (s *scim) list(target string) *okta.Exchange {
	s.t.Helper()
	exchange := s.do(http.MethodGet, target, "")
	s.must(exchange.ExpectList())
	return exchange
}

// refused expects an error.
func (s *scim) refused(status int, scimType, method, target, body string, edits ...okta.Edit) *okta.Exchange {
	s.t.Helper()
	exchange := s.do(method, target, body, edits...)
	s.must(exchange.ExpectError(status, scimType))
	return exchange
}

func (s *scim) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// user creates one and returns its id; extra members of the body begin with a comma.
func (s *scim) user(userName, extra string) string {
	s.t.Helper()
	exchange := s.do(http.MethodPost, "/Users", userJSON(userName, extra))
	s.must(exchange.ExpectUser(http.StatusCreated))
	return exchange.Text("id")
}

// group creates one and returns its id.
func (s *scim) group(displayName string, members ...string) string {
	s.t.Helper()
	exchange := s.do(http.MethodPost, "/Groups", groupJSON(displayName, members))
	s.must(exchange.ExpectGroup(http.StatusCreated))
	return exchange.Text("id")
}

// soon polls until check returns nil.
func (s *scim) soon(what string, check func() error) {
	s.t.Helper()
	harness.Eventually(s.t, patience, what, func(context.Context) error { return check() })
}

// listed waits until a list, which follows the API server by watch, has that many resources.
func (s *scim) listed(endpoint string, count int) {
	s.t.Helper()
	s.soon("the list of "+endpoint, func() error {
		if total := s.list(endpoint + "?count=0").Number("totalResults"); total != count {
			return fmt.Errorf("totalResults is %d, want %d", total, count)
		}
		return nil
	})
}

func userJSON(userName, extra string) string {
	return `{"schemas":["` + okta.SchemaUser + `"],"userName":"` + userName + `","active":true` + extra + `}`
}

func groupJSON(displayName string, members []string) string {
	return `{"schemas":["` + okta.SchemaGroup + `"],"displayName":"` + displayName + `","members":` + membersJSON(members) + `}`
}

func membersJSON(ids []string) string {
	elements := make([]string, len(ids))
	for i, id := range ids {
		elements[i] = `{"value":"` + id + `"}`
	}
	return "[" + strings.Join(elements, ",") + "]"
}

func patchJSON(operations ...string) string {
	return `{"schemas":["` + okta.SchemaPatchOp + `"],"Operations":[` + strings.Join(operations, ",") + `]}`
}

var names atomic.Int64

// newName returns a userName that no other test uses.
func newName(first string) string { return fmt.Sprintf("%s.%d@example.com", first, names.Add(1)) }

// idsOf lists the ids in a list response, in its order.
func idsOf(list *okta.Exchange) []string { return textsOf(list, "id") }

func textsOf(list *okta.Exchange, path ...any) []string {
	texts := []string{}
	for _, resource := range list.Resources() {
		text, _ := okta.At(resource, path...).(string)
		texts = append(texts, text)
	}
	return texts
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func sameSet(a, b []string) bool { return slices.Equal(sorted(a), sorted(b)) }

func query(namesAndValues ...string) string {
	var parts []string
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		parts = append(parts, namesAndValues[i]+"="+okta.Escape(namesAndValues[i+1]))
	}
	return "?" + strings.Join(parts, "&")
}
