// Package okta_test holds the operator against Okta from outside: whole conversations over HTTP with a real server and
// a real controller, each under its own ServiceAccount, then questions to the API server about what came of them.
package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

var operator *harness.Harness

func TestMain(m *testing.M) { harness.Main(m, &operator) }

// quickstart returns a client of the sample's App. The base URL is the common one.
func quickstart(t *testing.T, dialect okta.Dialect) (*okta.Client, harness.App) {
	t.Helper()
	operator.ShowOnFailure(t)
	app := operator.Quickstart(t, operator.Server)
	return operator.Client(operator.Server, "/scim/v2", app, dialect), app
}

// ownApp returns a client of a new App in a namespace of its own: its lists have no other users.
func ownApp(t *testing.T, dialect okta.Dialect) (*okta.Client, harness.App) {
	t.Helper()
	operator.ShowOnFailure(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "own", nil)
	return operator.Client(operator.Server, "/scim/v2", app, dialect), app
}

var names atomic.Int64

// newName returns a userName that no other test uses.
func newName(t *testing.T, first string) string {
	t.Helper()
	return fmt.Sprintf("%s.%d@example.com", first, names.Add(1))
}

// say returns what a conversation with Okta's client made, and fails the test where Okta would have failed.
func say(t *testing.T) func(okta.Conversation, error) *okta.Exchange {
	return func(conversation okta.Conversation, err error) *okta.Exchange {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return conversation.Last()
	}
}

// do sends one request and fails the test where the answer is none that Okta can use.
func do(t *testing.T, client *okta.Client, method, target, body string, edits ...okta.Edit) *okta.Exchange {
	t.Helper()
	var content []byte
	if body != "" {
		content = []byte(body)
	}
	exchange, err := client.Do(t.Context(), method, target, content, edits...)
	if err != nil {
		t.Fatal(err)
	}
	return exchange
}

// must fails the test on an expectation that was not met.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create posts a body and returns the user's answer.
func create(t *testing.T, client *okta.Client, body string) *okta.Exchange {
	t.Helper()
	exchange := do(t, client, http.MethodPost, "/Users", body)
	must(t, exchange.ExpectUser(http.StatusCreated))
	return exchange
}

// get reads a user by id.
func get(t *testing.T, client *okta.Client, id string) *okta.Exchange {
	t.Helper()
	exchange := do(t, client, http.MethodGet, "/Users/"+id, "")
	must(t, exchange.ExpectUser())
	return exchange
}

// find lists the ids that a filter finds.
func find(t *testing.T, client *okta.Client, filter string) []string {
	t.Helper()
	exchange := do(t, client, http.MethodGet, "/Users"+okta.FilterQuery(filter), "")
	must(t, exchange.ExpectUsers())
	return idsOf(exchange)
}

func idsOf(list *okta.Exchange) []string {
	ids := []string{}
	for i := range list.Resources() {
		ids = append(ids, list.Text("Resources", i, "id"))
	}
	return ids
}

// patch sends operations and returns the user.
func patch(t *testing.T, client *okta.Client, id string, operations ...string) *okta.Exchange {
	t.Helper()
	exchange := do(t, client, http.MethodPatch, "/Users/"+id, patchOf(operations...))
	must(t, exchange.ExpectUser())
	return exchange
}

func patchOf(operations ...string) string {
	return `{"schemas":["` + okta.SchemaPatchOp + `"],"Operations":[` + strings.Join(operations, ",") + `]}`
}

// userJSON is a small create body; extra members begin with a comma.
func userJSON(userName, extra string) string {
	return `{"schemas":["` + okta.SchemaUser + `"],"userName":"` + userName + `","name":{"givenName":"Given","familyName":"Family"},` +
		`"emails":[{"primary":true,"value":"` + userName + `","type":"work"}],"active":true` + extra + `}`
}

// eachDialect runs a test in both.
func eachDialect(t *testing.T, test func(*testing.T, okta.Dialect)) {
	for _, dialect := range okta.Dialects {
		t.Run(string(dialect), func(t *testing.T) { test(t, dialect) })
	}
}

// soon polls within patience.
func soon(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	harness.Eventually(t, patience, what, check)
}
