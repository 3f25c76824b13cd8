package security_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scim-operator/scim-operator/test/bystander"
)

// raw sends bytes to the server and returns the answer, and whether the server closed the connection after it.
func raw(t *testing.T, text string) (answer *http.Response, body string, closed bool) {
	t.Helper()
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(operator.Server.URL, "http://"))
	must(t, err)
	defer func() { _ = connection.Close() }()
	must(t, connection.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(connection, text)
	must(t, err)
	reader := bufio.NewReader(connection)
	answer, err = http.ReadResponse(reader, nil)
	must(t, err)
	content, err := io.ReadAll(answer.Body)
	must(t, err)
	_ = answer.Body.Close()
	must(t, connection.SetDeadline(time.Now().Add(time.Second)))
	_, err = reader.ReadByte()
	return answer, string(content), err == io.EOF //nolint:errorlint // what bufio returns
}

// isSCIM fails the test unless the answer is an error as SCIM has it.
func isSCIM(t *testing.T, answer *http.Response, body string, status int) {
	t.Helper()
	var problem struct {
		Schemas        []string
		Detail, Status string
	}
	err := json.Unmarshal([]byte(body), &problem)
	if err != nil || answer.StatusCode != status || problem.Status != strconv.Itoa(status) || problem.Detail == "" ||
		answer.Header.Get("Content-Type") != "application/scim+json" {
		t.Errorf("answered %d %q: %s", answer.StatusCode, answer.Header.Get("Content-Type"), body)
	}
}

// Requests that parts of a proxy chain could read differently.
func TestAmbiguousRequests(t *testing.T) {
	tenant := newAttacker(t, 1, 10)
	authorization := "Authorization: Bearer " + tenant.Token + "\r\n"
	t.Run("two Authorization headers", func(t *testing.T) {
		for _, second := range []string{authorization, "Authorization: Bearer other\r\n", "authorization: Basic eDp5\r\n"} {
			answer, body, _ := raw(t, "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\n"+authorization+second+"\r\n")
			isSCIM(t, answer, body, http.StatusBadRequest)
		}
	})
	t.Run("Content-Length beside Transfer-Encoding", func(t *testing.T) {
		const create = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"chunked@example.com"}`
		head := "POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\n" + authorization + "Content-Type: application/scim+json\r\nTransfer-Encoding: chunked\r\n"
		chunked := strconv.FormatInt(int64(len(create)), 16) + "\r\n" + create + "\r\n0\r\n\r\n"
		answer, body, closed := raw(t, head+"Content-Length: 5\r\n\r\n"+chunked+"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
		if answer.StatusCode != http.StatusCreated || !closed {
			t.Errorf("answered %d, the connection closed: %t: %s", answer.StatusCode, closed, body)
		}
	})
	t.Run("OPTIONS of the server", func(t *testing.T) {
		answer, body, _ := raw(t, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
		isSCIM(t, answer, body, http.StatusNotFound)
	})
	t.Run("TLS where none is served", func(t *testing.T) {
		answer, body, closed := raw(t, "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03")
		isSCIM(t, answer, body, http.StatusBadRequest)
		if !closed || !strings.Contains(body, "http://") {
			t.Errorf("closed %t: %s", closed, body)
		}
	})
}

// attackTime is how long a flood lasts; it goes on, on a busy machine, until it had answers enough to judge by.
const attackTime = 4 * time.Second

// floodUntil is flood for the time of an attack, and until so many answers of a status came.
func floodUntil(t *testing.T, clients, enough, status int, request func() (*http.Request, error)) (statuses map[int]int, retryAfter string, seconds float64) {
	t.Helper()
	begun, statuses := time.Now(), map[int]int{}
	for len(statuses) == 0 || statuses[status] < enough && time.Since(begun) < patience {
		ctx, stop := context.WithTimeout(t.Context(), attackTime)
		more, after := flood(ctx, clients, request)
		stop()
		for status, count := range more {
			statuses[status] += count
		}
		if after != "" {
			retryAfter = after
		}
	}
	return statuses, retryAfter, time.Since(begun).Seconds()
}

// flood sends requests from clients until ctx ends and counts the answers by status; the last Retry-After is returned.
func flood(ctx context.Context, clients int, request func() (*http.Request, error)) (statuses map[int]int, retryAfter string) {
	var mu sync.Mutex
	statuses = map[int]int{}
	transport := &http.Transport{MaxIdleConnsPerHost: clients, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 3)}}).DialContext}
	defer transport.CloseIdleConnections()
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for ctx.Err() == nil {
				r, err := request()
				if err != nil {
					return
				}
				answer, err := transport.RoundTrip(r.WithContext(ctx))
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
				mu.Lock()
				statuses[answer.StatusCode]++
				if answer.StatusCode == http.StatusTooManyRequests {
					retryAfter = answer.Header.Get("Retry-After")
				}
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return statuses, retryAfter
}

// Guesses of tokens are backed off by source, whatever headers say, and logged as one.
func TestGuessedTokens(t *testing.T) {
	tenant := newAttacker(t, 1, 10)
	before := len(operator.ServerLog.String())
	var serial atomic.Int64
	statuses, retryAfter, took := floodUntil(t, 32, 50, http.StatusUnauthorized, func() (*http.Request, error) {
		r, err := http.NewRequest(http.MethodGet, operator.Server.URL+"/scim/v2/Users", nil)
		if err == nil {
			n := strconv.FormatInt(serial.Add(1), 10)
			r.Header.Set("Authorization", "Bearer guess-"+n)
			r.Header.Set("X-Forwarded-For", "192.0.2."+n) // must not be believed
		}
		return r, err
	})
	if most := 100 + int(10*took) + 1; statuses[http.StatusUnauthorized] > most || statuses[http.StatusUnauthorized] < 50 {
		t.Errorf("%d guesses were answered in %.1f s, at most %d may be", statuses[http.StatusUnauthorized], took, most)
	}
	// 32 connections wait half a second for each refusal.
	if refused := statuses[http.StatusTooManyRequests]; refused == 0 || refused > int(64*took)+64 {
		t.Errorf("%d guesses were refused in %.1f s", refused, took)
	}
	if seconds, err := strconv.Atoi(retryAfter); err != nil || seconds < 1 {
		t.Errorf("Retry-After is %q", retryAfter)
	}
	lines := 0
	for line := range strings.Lines(operator.ServerLog.String()[before:]) {
		if strings.Contains(line, `"status":401`) || strings.Contains(line, `"status":429`) {
			lines++
		}
	}
	if lines > 5+int(took) {
		t.Errorf("%d lines tell of %v", lines, statuses)
	}
	// The same source with the right token is served all the same.
	right := map[int]int{}
	for begun := time.Now(); len(right) == 0 && time.Since(begun) < patience; {
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		right, _ = flood(ctx, 1, func() (*http.Request, error) { return tenant.request(http.MethodGet, "/ServiceProviderConfig", "") })
		stop()
	}
	if right[http.StatusOK] == 0 || len(right) != 1 {
		t.Errorf("the right token is answered %v", right)
	}
}

// request is one of the tenant's client.
func (n *attacker) request(method, path, body string) (*http.Request, error) {
	r, err := http.NewRequest(method, operator.Server.URL+"/scim/v2"+path, strings.NewReader(body))
	if err == nil {
		r.Header.Set("Authorization", "Bearer "+n.Token)
		r.Header.Set("Content-Type", "application/scim+json")
	}
	return r, err
}

// attacker is another tenant's App.
type attacker struct{ *bystander.Tenant }

// perSecond and burst are what an App may send without limits of its own; removals have as many beside them.
const perSecond, burst = 50, 100

// An App takes its rate and no more, is told when to try again, and deactivates all the same.
func TestRateOfAnApp(t *testing.T) {
	tenant := newAttacker(t, 1, 10)
	attacking, attacked := context.WithCancel(t.Context())
	var removing errgroup.Group
	var waited []time.Duration
	removing.Go(func() error {
		for pause(attacking, attackTime/5); attacking.Err() == nil; pause(attacking, attackTime/5) {
			sent := time.Now()
			request, err := tenant.request(http.MethodDelete, "/Users/nobody-abcdefghij", "")
			if err != nil {
				return err
			}
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusNotFound {
				return fmt.Errorf("a deletion among many reads is answered %d", answer.StatusCode)
			}
			waited = append(waited, time.Since(sent))
		}
		return nil
	})
	statuses, retryAfter, took := floodUntil(t, 200, burst, http.StatusOK, func() (*http.Request, error) {
		return tenant.request(http.MethodGet, "/ServiceProviderConfig", "")
	})
	attacked()
	must(t, removing.Wait())
	if most := burst + int(perSecond*took) + 1; statuses[http.StatusOK] > most || statuses[http.StatusOK] < burst {
		t.Errorf("%d requests were taken in %.1f s, at most %d may be", statuses[http.StatusOK], took, most)
	}
	if seconds, err := strconv.Atoi(retryAfter); err != nil || seconds < 1 || statuses[http.StatusTooManyRequests] == 0 {
		t.Errorf("%v, Retry-After is %q", statuses, retryAfter)
	}
	t.Logf("deletions were answered after %s, among %v", waited, statuses)
	if len(waited) == 0 || slices.Min(waited) > 2*time.Second { // what a request of the App waits for its rate
		t.Errorf("deletions waited %s behind reads", waited)
	}
}

func pause(ctx context.Context, duration time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
}
