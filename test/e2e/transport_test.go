//go:build e2e

package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scim-operator/scim-operator/test/e2e/report"
)

// meter counts what clients saw in one scenario.
type meter struct {
	mu                        sync.Mutex
	requests, tooMany, failed int
	failures                  []string
	denials, lags             []time.Duration
}

// shownFailures bounds the failures that a meter describes.
const shownFailures = 20

// fail counts a request without a usable answer, or an answer that must not be.
func (m *meter) fail(format string, arguments ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed++
	if len(m.failures) < shownFailures {
		m.failures = append(m.failures, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, arguments...))
	}
}

func (m *meter) deny(whole, lag time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.denials = append(m.denials, whole)
	m.lags = append(m.lags, lag)
}

func (m *meter) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests
}

func (m *meter) row(name string, took time.Duration) report.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	return report.Row{
		Scenario: name, Requests: m.requests, TooMany: m.tooMany, Failed: m.failed,
		Denials: slices.Clone(m.denials), Lags: slices.Clone(m.lags), Duration: took,
	}
}

// metered counts requests, and what a client other than Go's would have seen fail: Go sends a GET again, and says nothing,
// when the server closes a kept connection under it.
type metered struct {
	*meter
	next http.RoundTripper
}

func (m metered) RoundTrip(request *http.Request) (*http.Response, error) {
	var connections atomic.Int32
	traced := httptrace.WithClientTrace(request.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connections.Add(1) },
	})
	response, err := m.next.RoundTrip(request.WithContext(traced))
	m.mu.Lock()
	m.requests++
	if err == nil && response.StatusCode == http.StatusTooManyRequests {
		m.tooMany++
	}
	m.mu.Unlock()
	if err == nil && connections.Load() > 1 {
		m.fail("%s %s: a kept connection was closed under the request", request.Method, request.URL.Path)
	}
	return response, err
}

// newTransport keeps connections, and trusts the CA for the server's name, whatever the address.
func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: 4,
		DisableCompression:  true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: serverName},
		TLSHandshakeTimeout: 20 * time.Second,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}
}
