package scim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	userSchema       = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupSchema      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseSchema = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	listSchema       = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	patchSchema      = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	errorSchema      = "urn:ietf:params:scim:api:messages:2.0:Error"
	bulkSchema       = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"

	listLimit = time.Minute
)

type object = map[string]any

// provider is the server as one App's client sees it, with nothing between the test and HTTP: what it sends need not be
// proper, and what it gets is looked at as it is. It is what the tests of rfc_*_test.go use, one a section or two.
type provider struct {
	t              *testing.T
	base, token    string
	namespace, app string // of the App
}

func newProvider(t *testing.T, change func(*v1alpha1.AppSpec)) provider {
	t.Helper()
	operator.ShowOnFailure(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "own", change)
	return provider{t: t, base: operator.Server.URL + "/scim/v2", token: app.Token, namespace: app.Namespace, app: app.Name}
}

// answer is the server's to one request. body is nil where there is none.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   object
}

// header is a request header, as name and value; an empty value sends none.
type header [2]string

// send makes one request. The body is marshalled, or sent as it is where it is a string.
func (p provider) send(method, path string, body any, headers ...header) answer {
	p.t.Helper()
	var content io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(body)
	default:
		data, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, content)
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	request.Header.Set("Accept", "application/scim+json")
	if content != nil {
		request.Header.Set("Content-Type", "application/scim+json")
	}
	for _, h := range headers {
		request.Header.Del(h[0])
		if h[1] != "" {
			request.Header.Set(h[0], h[1])
		}
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	a := answer{t: p.t, what: fmt.Sprintf("%s %s: %d %s", method, path, response.StatusCode, data), status: response.StatusCode, header: response.Header}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &a.body); err != nil {
			p.t.Fatalf("%s: %v", a.what, err)
		}
	}
	return a
}

// expect fails the test at once unless the answer has the status.
func (a answer) expect(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("want %d: %s", status, a.what)
	}
	return a
}

// refuses fails the test unless the answer is an error (RFC 7644 section 3.12).
func (a answer) refuses(status int, scimType string) {
	a.t.Helper()
	if a.status != status || a.text("schemas", 0) != errorSchema || a.text("status") != fmt.Sprint(status) || a.text("scimType") != scimType || a.text("detail") == "" {
		a.t.Errorf("want an error %d %q: %s", status, scimType, a.what)
	}
}

// at finds a value by names and indexes; nil where there is none.
func (a answer) at(path ...any) any { return at(a.body, path...) }

func (a answer) text(path ...any) string {
	text, _ := a.at(path...).(string)
	return text
}

func (a answer) number(name string) int {
	number, ok := a.body[name].(float64)
	if !ok {
		a.t.Fatalf("no number %s: %s", name, a.what)
	}
	return int(number)
}

func at(value any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			held, _ := value.(object)
			value = held[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}

// texts is the list of values of one attribute in a list of resources.
func (a answer) texts(name string) []string {
	list, _ := a.at("Resources").([]any)
	texts := []string{}
	for _, resource := range list {
		text, _ := at(resource, name).(string)
		texts = append(texts, text)
	}
	return texts
}

func person(userName string, extra object) object {
	user := object{"schemas": []string{userSchema}, "userName": userName, "active": true}
	for name, value := range extra {
		user[name] = value
	}
	return user
}

// create makes a user and returns its id.
func (p provider) create(userName string, extra object) string {
	p.t.Helper()
	return p.send("POST", "/Users", person(userName, extra)).expect(201).text("id")
}

func (p provider) get(path string) answer {
	p.t.Helper()
	return p.send("GET", path, nil)
}

func (p provider) patch(path string, operations ...object) answer {
	p.t.Helper()
	return p.send("PATCH", path, object{"schemas": []string{patchSchema}, "Operations": operations})
}

func (p provider) search(path string, query object) answer {
	p.t.Helper()
	query["schemas"] = []string{searchSchema}
	return p.send("POST", path+"/.search", query)
}

// awaitTotal waits until a list, which follows the API server by watch, has so many resources.
func (p provider) awaitTotal(path string, total int) {
	p.t.Helper()
	harness.Eventually(p.t, listLimit, "the list", func(context.Context) error {
		if got := p.get(path).expect(200).number("totalResults"); got != total {
			return fmt.Errorf("totalResults is %d, want %d", got, total)
		}
		return nil
	})
}
