package bystander

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// Fill creates users in the attacker's App through SCIM, each with so many bytes of text, and returns when all are there. It
// fails with the first request that does.
func (t *Tenant) Fill(ctx context.Context, users, bytes int) error {
	scim := t.client(t.Token)
	scim.Retries = 20
	defer scim.Close()
	text := strings.Repeat("x", bytes)
	return parallel(ctx, 8, func(ctx context.Context, next func() int) error {
		for i := next(); i < users && ctx.Err() == nil; i = next() {
			profile := okta.NewProfile(fmt.Sprintf("filler.%06d@example.com", i))
			profile.Custom = okta.ObjectOf("note", text)
			person := okta.Assign(profile)
			if _, err := scim.Create(ctx, person); err != nil {
				return err
			}
			t.mutex.Lock()
			t.filled = append(t.filled, person.ID)
			t.mutex.Unlock()
		}
		return ctx.Err()
	})
}

// parallel runs work in so many goroutines, which share a counter, and joins their errors.
func parallel(ctx context.Context, workers int, work func(ctx context.Context, next func() int) error) error {
	var counter atomic.Int64
	next := func() int { return int(counter.Add(1)) - 1 }
	errs := make([]error, workers)
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() { errs[i] = work(ctx, next) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// elsewhere is another source address than other clients on this machine have.
var elsewhere = &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}

// repeat is an attack by so many clients, each of which sends one request after the other, whatever the answer.
func (t *Tenant) repeat(clients int, base, authorization string, request func(i int) (method, path, body string)) Attack {
	return func(ctx context.Context) error {
		transport := &http.Transport{MaxIdleConnsPerHost: clients, DialContext: elsewhere.DialContext}
		defer transport.CloseIdleConnections()
		var sent atomic.Int64
		err := parallel(ctx, clients, func(ctx context.Context, next func() int) error {
			for ctx.Err() == nil {
				method, path, body := request(next())
				r, err := http.NewRequestWithContext(ctx, method, t.URL+base+path, bytes.NewReader([]byte(body)))
				if err != nil {
					return err
				}
				r.Header.Set("Authorization", authorization)
				r.Header.Set("Content-Type", "application/scim+json")
				sent.Add(1)
				response, err := transport.RoundTrip(r)
				if err != nil {
					continue // cut off: that is the server's right
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				t.answered(response.StatusCode)
			}
			return nil
		})
		if int(sent.Load()) < clients {
			err = errors.Join(err, errors.New("not every client of the attack sent a request"))
		}
		return err
	}
}

// ScanFilters sends filters that look at every user of the tenant's App.
func (t *Tenant) ScanFilters(clients int) Attack {
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		filter := fmt.Sprintf(`name.familyName co "nobody-%d" and (displayName ew "x" or title sw "y")`, i)
		return http.MethodGet, "/Users?filter=" + okta.Escape(filter) + "&count=1000", ""
	})
}

// Sorts sends lists sorted by attributes that have no index.
func (t *Tenant) Sorts(clients int) Attack {
	attributes := []string{"title", "nickName", "locale", "timezone", "displayName", "name.givenName", "name.familyName", "userType"}
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		return http.MethodGet, "/Users?count=1000&filter=" + okta.Escape("active eq true") + "&sortBy=" + attributes[i%len(attributes)], ""
	})
}

// BulkClients create users by bulk requests of 1,000 operations.
func (t *Tenant) BulkClients(clients int) Attack {
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		var b strings.Builder
		b.WriteString(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[`)
		for n := range 1000 {
			if n > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"method":"POST","bulkId":"b%d","path":"/Users","data":{"schemas":[%q],"userName":"bulk.%d.%d@example.com","active":true}}`, n, okta.SchemaUser, i, n)
		}
		b.WriteString(`]}`)
		return http.MethodPost, "/Bulk", b.String()
	})
}

// Creates post users one by one.
func (t *Tenant) Creates(clients int) Attack {
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		return http.MethodPost, "/Users", fmt.Sprintf(`{"schemas":[%q],"userName":"create.%d@example.com","active":true}`, okta.SchemaUser, i)
	})
}

// LargeUsers post users with so many attributes of so many bytes each.
func (t *Tenant) LargeUsers(clients, attributes, bytes int) Attack {
	var b strings.Builder
	for n := range attributes {
		fmt.Fprintf(&b, `,"a%d":%q`, n, strings.Repeat("x", bytes))
	}
	wide := b.String()
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		return http.MethodPost, "/Users", fmt.Sprintf(`{"schemas":[%q],"userName":"wide.%d@example.com","active":true%s}`, okta.SchemaUser, i, wide)
	})
}

// Groups post groups of so many members, users of Fill.
func (t *Tenant) Groups(clients, members int) Attack {
	ids := t.people()
	var b strings.Builder
	for n := range members {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"value":%q}`, ids[n%len(ids)])
	}
	list := b.String()
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		return http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":[%q],"displayName":"group %d","members":[%s]}`, okta.SchemaGroup, i, list)
	})
}

// Leavers deactivate users of Fill and bring them back, without end: removals go before everything else.
func (t *Tenant) Leavers(clients int) Attack {
	ids := t.people()
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		active := i/len(ids)%2 == 1
		return http.MethodPatch, "/Users/" + ids[i%len(ids)], fmt.Sprintf(
			`{"schemas":[%q],"Operations":[{"op":"replace","value":{"active":%t}}]}`, okta.SchemaPatchOp, active)
	})
}

// Pages reads the largest pages, and all of each.
func (t *Tenant) Pages(clients int) Attack {
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(int) (method, path, body string) {
		return http.MethodGet, "/Users?count=1000", ""
	})
}

func (t *Tenant) people() []string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return slices.Clone(t.filled)
}

// WrongTokens guesses tokens.
func (t *Tenant) WrongTokens(clients int) Attack {
	return t.repeat(clients, "/scim/v2", "Bearer scim_wrong", func(int) (method, path, body string) {
		return http.MethodGet, "/Users?startIndex=1&count=2", ""
	})
}

// TokensOfAnIssuer sends a token to the App's own URL, good or not, as fast as it is answered.
func (t *Tenant) TokensOfAnIssuer(clients int, token string) Attack {
	return t.repeat(clients, "/apps/"+t.Namespace+"/"+t.App.Name+"/scim/v2", "Bearer "+token, func(int) (method, path, body string) {
		return http.MethodGet, "/Users?startIndex=1&count=2", ""
	})
}

// DeepJSON posts users with so many levels of nesting.
func (t *Tenant) DeepJSON(clients, depth int) Attack {
	nested := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		return http.MethodPost, "/Users", fmt.Sprintf(`{"schemas":[%q],"userName":"deep.%d@example.com","x":%s}`, okta.SchemaUser, i, nested)
	})
}

func sleep(ctx context.Context, duration time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
}
