package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxGrow bounds what an answer may reserve by its Content-Length alone.
const maxGrow = 1 << 20

// scimClient asks as Okta does: its headers, kept-alive connections, one for each request under way. It does as little as it
// can for each request: what it costs is counted against the server, because both share the processors.
type scimClient struct {
	base    string
	http    *http.Client
	without http.Header // of requests without a body; shared and never changed
	with    http.Header // of those with one
}

func newSCIMClient(base, token string, concurrency int) *scimClient {
	transport := &http.Transport{MaxIdleConns: concurrency, MaxIdleConnsPerHost: concurrency}
	header := http.Header{}
	header.Set("Accept", "application/scim+json")
	header.Set("Accept-Charset", "utf-8")
	header.Set("Accept-Encoding", "gzip,deflate")
	header.Set("Authorization", "Bearer "+token)
	header.Set("User-Agent", "Okta SCIM Client 1.0.0")
	c := &scimClient{base: base, http: &http.Client{Transport: transport, Timeout: requestTimeout}, without: header, with: header.Clone()}
	c.with.Set("Content-Type", "application/scim+json; charset=utf-8")
	return c
}

// reply is an answer with its body as it came, compressed or not.
type reply struct {
	status     int
	compressed bool
	raw        []byte
}

func (c *scimClient) do(ctx context.Context, method, path string, body []byte) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header = c.without
	if body != nil {
		request.Header = c.with
	}
	response, err := c.http.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = response.Body.Close() }()
	var raw bytes.Buffer
	if response.ContentLength > 0 {
		raw.Grow(int(min(response.ContentLength, maxGrow)) + bytes.MinRead)
	}
	_, err = raw.ReadFrom(response.Body)
	return reply{status: response.StatusCode, compressed: response.Header.Get("Content-Encoding") == "gzip", raw: raw.Bytes()}, err
}

// expect fails when the status is another one.
func (r reply) expect(status int) error {
	if r.status == status {
		return nil
	}
	return fmt.Errorf("answered %d instead of %d: %.300s", r.status, status, r.raw)
}

// expectText fails, too, when an answer that is not compressed does not contain the text.
func (r reply) expectText(status int, contains string) error {
	if err := r.expect(status); err != nil {
		return err
	}
	if !r.compressed && !bytes.Contains(r.raw, []byte(contains)) {
		return fmt.Errorf("the answer does not contain %s: %.300s", contains, r.raw)
	}
	return nil
}

func (r reply) decode(into any) error {
	var body io.Reader = bytes.NewReader(r.raw)
	if r.compressed {
		decompressed, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = decompressed
	}
	return json.NewDecoder(body).Decode(into)
}

// people numbers persons so that no two of one run are the same.
type people struct{ last int }

// take returns n new persons.
func (p *people) take(n int) []person {
	taken := make([]person, n)
	for i := range taken {
		p.last++
		taken[i].number = fmt.Sprintf("n%08d", p.last)
	}
	return taken
}

// person is a user in Okta. The number is part of every text that differs from person to person.
type person struct {
	number string
	// role and regions are custom attributes of the sample App; empty ones are not sent.
	role, regions string
}

func (p person) userName() string   { return "jane." + p.number + "@example.com" }
func (p person) externalID() string { return "00u" + p.number + "te5T6Aj1" }

type oktaName struct {
	GivenName  string `json:"givenName"`
	FamilyName string `json:"familyName"`
}

type oktaEmail struct {
	Primary bool   `json:"primary"`
	Value   string `json:"value"`
	Type    string `json:"type"`
}

// oktaUser is what Okta posts, in its order.
type oktaUser struct {
	Schemas     []string    `json:"schemas"`
	UserName    string      `json:"userName"`
	Name        oktaName    `json:"name"`
	Emails      []oktaEmail `json:"emails"`
	DisplayName string      `json:"displayName"`
	Locale      string      `json:"locale"`
	ExternalID  string      `json:"externalId"`
	Groups      []string    `json:"groups"`
	Password    string      `json:"password"`
	Active      bool        `json:"active"`
	Role        string      `json:"role,omitempty"`
	Regions     string      `json:"regions,omitempty"`
}

// body is Okta's create request.
func (p person) body() ([]byte, error) {
	family := "Doe " + p.number
	return json.Marshal(oktaUser{
		Schemas:     []string{"urn:ietf:params:scim:schemas:core:2.0:User"},
		UserName:    p.userName(),
		Name:        oktaName{GivenName: "Jane", FamilyName: family},
		Emails:      []oktaEmail{{Primary: true, Value: p.userName(), Type: "work"}},
		DisplayName: "Jane " + family,
		Locale:      "en-US",
		ExternalID:  p.externalID(),
		Groups:      []string{},
		Password:    rand.Text()[:8],
		Active:      true,
		Role:        p.role,
		Regions:     p.regions,
	})
}

// deactivation is the request of Okta's template apps.
var deactivation = []byte(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}`)

// create posts a user's prepared body and returns the id.
func (c *scimClient) create(ctx context.Context, body []byte) (string, error) {
	return c.createAt(ctx, "/Users", body)
}

// createGroup posts a group with its members and returns the id.
func (c *scimClient) createGroup(ctx context.Context, displayName string, members []string) (string, error) {
	list := make([]map[string]string, len(members))
	for i, id := range members {
		list[i] = map[string]string{"value": id}
	}
	body, err := json.Marshal(map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Group"}, "displayName": displayName, "members": list,
	})
	if err != nil {
		return "", err
	}
	return c.createAt(ctx, "/Groups?excludedAttributes=members", body)
}

func (c *scimClient) createAt(ctx context.Context, path string, body []byte) (string, error) {
	answer, err := c.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return "", err
	}
	if err := answer.expect(http.StatusCreated); err != nil {
		return "", err
	}
	var created struct {
		ID string `json:"id"`
	}
	if err := answer.decode(&created); err != nil {
		return "", fmt.Errorf("decoding the answer to a create: %w", err)
	}
	if created.ID == "" {
		return "", fmt.Errorf("the answer to a create has no id: %.300s", answer.raw)
	}
	return created.ID, nil
}

func userPath(id string) string { return "/Users/" + url.PathEscape(id) }

// userNamePath is the question that Okta asks before it creates a user.
func userNamePath(userName string) string {
	return "/Users?filter=" + url.PathEscape(`userName eq "`+userName+`"`) + "&startIndex=1&count=100"
}
