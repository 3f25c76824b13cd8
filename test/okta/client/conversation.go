package okta

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// importPage is the page size of imports; the next page begins that much later whatever the server returned.
const importPage = 100

// Conversation is what one action in Okta sent, in order.
type Conversation []*Exchange

// Last exchange of the conversation.
func (c Conversation) Last() *Exchange { return c[len(c)-1] }

// Methods lists the conversation's methods, separated by spaces.
func (c Conversation) Methods() string {
	methods := make([]string, len(c))
	for i, exchange := range c {
		methods[i] = exchange.Method
	}
	return strings.Join(methods, " ")
}

// Assignment is what Okta keeps of a person assigned to the app.
type Assignment struct {
	Profile Profile
	// ID is the SCIM id, known once the person was provisioned or linked.
	ID string
}

// Assign returns the assignment of a person that was not provisioned yet.
func Assign(profile Profile) *Assignment { return &Assignment{Profile: profile} }

// conversation collects exchanges and stops at the first that Okta could not use.
type conversation struct {
	ctx       context.Context
	client    *Client
	exchanges Conversation
}

func (c *Client) begin(ctx context.Context) *conversation {
	return &conversation{ctx: ctx, client: c}
}

func (c *conversation) send(method, target string, body []byte, expect func(*Exchange) error) (*Exchange, error) {
	exchange, err := c.client.Do(c.ctx, method, target, body)
	if exchange != nil {
		c.exchanges = append(c.exchanges, exchange)
	}
	if err == nil {
		err = expect(exchange)
	}
	return exchange, err
}

func expectUser(e *Exchange) error { return e.ExpectUser() }

// expectCreated takes 200 too: the answer where a leaver is restored.
func expectCreated(e *Exchange) error { return e.ExpectUser(http.StatusCreated, http.StatusOK) }

// TestConnection is the button "Test Connector Configuration" or "Test API Credentials"; with group import on, Okta asks for
// groups too. Errors are those of Do.
func (c *Client) TestConnection(ctx context.Context, groupImport bool) (Conversation, error) {
	talk := c.begin(ctx)
	if _, err := talk.send(http.MethodGet, "/Users?startIndex=1&count=2", nil, (*Exchange).ExpectUsers); err != nil || !groupImport {
		return talk.exchanges, err
	}
	_, err := talk.send(http.MethodGet, "/Groups?startIndex=1&count=100", nil, (*Exchange).ExpectList)
	return talk.exchanges, err
}

// AssignUser provisions a person: a look-up by userName, then POST, or, where the look-up found one, the link to it with the
// profile pushed and active set. Errors are those of Do.
func (c *Client) AssignUser(ctx context.Context, a *Assignment) (Conversation, error) {
	talk := c.begin(ctx)
	found, err := talk.lookUp(a.Profile.UserName)
	if err != nil {
		return talk.exchanges, err
	}
	if found == "" {
		err = talk.create(a)
		return talk.exchanges, err
	}
	a.ID = found
	if c.Dialect == Template {
		if err := talk.patch(a, Object{{"active", true}}); err != nil {
			return talk.exchanges, err
		}
	}
	err = talk.push(a, true)
	return talk.exchanges, err
}

// Reactivate is the assignment of a person after an unassignment: the look-up must find them. The error is a *ViolationError
// where it finds another id, or one of Do.
func (c *Client) Reactivate(ctx context.Context, a *Assignment) (Conversation, error) {
	before := a.ID
	exchanges, err := c.AssignUser(ctx, a)
	if err == nil && a.ID != before {
		err = exchanges.Last().violation("the id %s that the user had before", before)
	}
	return exchanges, err
}

// Create sends the POST alone, as Okta does after a look-up by another name without a result. Errors are those of Do.
func (c *Client) Create(ctx context.Context, a *Assignment) (Conversation, error) {
	talk := c.begin(ctx)
	err := talk.create(a)
	return talk.exchanges, err
}

// PushProfile sends the whole profile. Errors are those of Do.
func (c *Client) PushProfile(ctx context.Context, a *Assignment) (Conversation, error) {
	talk := c.begin(ctx)
	err := talk.push(a, true)
	return talk.exchanges, err
}

// Deactivate is what Okta sends when a person is unassigned or deactivated. Errors are those of Do.
func (c *Client) Deactivate(ctx context.Context, a *Assignment) (Conversation, error) {
	talk := c.begin(ctx)
	var err error
	if c.Dialect == Template {
		err = talk.patch(a, Object{{"active", false}})
	} else {
		err = talk.push(a, false)
	}
	if err == nil && talk.exchanges.Last().At("active") != false {
		err = talk.exchanges.Last().violation("a user with active false")
	}
	return talk.exchanges, err
}

// Import reads all users by pages of 100, each page beginning 100 later until that is past totalResults. Errors are those of
// Do, with the users read so far.
func (c *Client) Import(ctx context.Context) ([]any, Conversation, error) {
	talk := c.begin(ctx)
	var users []any
	for start := 1; ; start += importPage {
		page, err := talk.send(http.MethodGet, "/Users?startIndex="+strconv.Itoa(start)+"&count="+strconv.Itoa(importPage), nil, (*Exchange).ExpectUsers)
		if err != nil {
			return users, talk.exchanges, err
		}
		users = append(users, page.Resources()...)
		if total := page.Number("totalResults"); start+importPage > total {
			if len(users) != total {
				err = page.violation("%d users on %d pages: totalResults says so, %d came", total, len(talk.exchanges), len(users))
			}
			return users, talk.exchanges, err
		}
	}
}

// lookUp returns the id that `userName eq` finds, or "".
func (c *conversation) lookUp(userName string) (string, error) {
	exchange, err := c.send(http.MethodGet, "/Users"+FilterQuery(Equals("userName", userName)), nil, (*Exchange).ExpectUsers)
	if err != nil {
		return "", err
	}
	users := exchange.Resources()
	if len(users) > 1 {
		return "", exchange.violation("at most one user of that name")
	}
	if len(users) == 0 {
		return "", nil
	}
	if got, _ := At(users[0], "userName").(string); !strings.EqualFold(got, userName) {
		return "", exchange.violation("a user named %s", userName)
	}
	return exchange.Text("Resources", 0, "id"), nil
}

func (c *conversation) create(a *Assignment) error {
	password := NewPassword()
	if c.client.OnPassword != nil {
		c.client.OnPassword(password)
	}
	exchange, err := c.send(http.MethodPost, "/Users", a.Profile.CreateBody(password).Encode(), expectCreated)
	if err != nil {
		return err
	}
	a.ID = exchange.Text("id")
	return c.shows(exchange, a.Profile, true)
}

// push sends the profile in the client's dialect.
func (c *conversation) push(a *Assignment, active bool) error {
	if c.client.Dialect == Template {
		return c.patch(a, a.Profile.patchValue(a.ID, active))
	}
	fetched, err := c.send(http.MethodGet, "/Users/"+a.ID, nil, expectUser)
	if err != nil {
		return err
	}
	object, err := DecodeObject(fetched.Body)
	if err != nil {
		return fetched.violation("a JSON object (%v)", err)
	}
	exchange, err := c.send(http.MethodPut, "/Users/"+a.ID, a.Profile.Overlay(object, active).Encode(), expectUser)
	if err != nil {
		return err
	}
	return c.shows(exchange, a.Profile, active)
}

func (c *conversation) patch(a *Assignment, value Object) error {
	exchange, err := c.send(http.MethodPatch, "/Users/"+a.ID, PatchBody(Object{{"op", "replace"}, {"value", value}}), expectUser)
	if err != nil {
		return err
	}
	if got := exchange.Text("id"); got != a.ID {
		return exchange.violation("the user with the id %s, not %s", a.ID, got)
	}
	if got, want := exchange.At("active"), value.Get("active"); got != want {
		return exchange.violation("active %v", want)
	}
	return nil
}

// shows holds the returned user against what was sent: Okta reports a write that did not take.
func (c *conversation) shows(e *Exchange, p Profile, active bool) error {
	for _, expected := range []struct {
		path []any
		want any
	}{
		{[]any{"userName"}, p.UserName},
		{[]any{"name", "givenName"}, p.GivenName},
		{[]any{"name", "familyName"}, p.FamilyName},
		{[]any{"emails", 0, "value"}, p.Email},
		{[]any{"active"}, active},
	} {
		if got := e.At(expected.path...); got != expected.want {
			return e.violation("%v %q as sent, not %q", expected.path, fmt.Sprint(expected.want), fmt.Sprint(got))
		}
	}
	if p.ExternalID != "" && e.At("externalId") != p.ExternalID {
		return e.violation("externalId %q as sent", p.ExternalID)
	}
	return nil
}

// PatchBody is a PATCH request's body (RFC 7644 section 3.5.2) with the operations.
func PatchBody(operations ...Object) []byte {
	list := make([]any, len(operations))
	for i, operation := range operations {
		list[i] = operation
	}
	return Object{{"schemas", []any{SchemaPatchOp}}, {"Operations", list}}.Encode()
}
