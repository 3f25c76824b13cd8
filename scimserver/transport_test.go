package scimserver

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr/funcr"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// served runs a hardened http.Server on a port of its own, with TLS or without, and returns its address and its log.
func served(t *testing.T, withTLS bool) (address string, log func() []string) {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	logger := funcr.NewJSON(func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}, funcr.Options{})
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := Transport{MaxConnections: 100, TLS: withTLS, Log: logger}.Limit(inner)
	if withTLS {
		// httptest's certificate.
		other := httptest.NewUnstartedServer(nil)
		other.StartTLS()
		certificate := other.TLS.Certificates[0]
		other.Close()
		listener = tls.NewListener(listener, TLSConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }))
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" "+r.RequestURI)
	})}
	Harden(server, logger)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return inner.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), lines...)
	}
}

// A client that mistakes the port is told which one this is, as SCIM tells errors.
func TestOtherProtocol(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		address, _ := served(t, withTLS)
		request, word := "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", "http://"
		if withTLS {
			request, word = "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\n\r\n", "https://"
		}
		answer, _ := io.ReadAll(dial(t, address, request))
		_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
		var problem struct {
			Schemas        []string
			Detail, Status string
		}
		if err := json.Unmarshal([]byte(body), &problem); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") ||
			problem.Schemas[0] != protocol.ErrorSchema || problem.Status != "400" || !strings.Contains(problem.Detail, word) {
			t.Errorf("TLS %t: answered %q (%v)", withTLS, answer, err)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		scheme := map[bool]string{false: "http://", true: "https://"}[withTLS]
		response, err := client.Get(scheme + address + "/Users")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		client.CloseIdleConnections()
	}
}

// OPTIONS * comes to the handler, which answers everything as SCIM does.
func TestOptionsOfTheServer(t *testing.T) {
	address, _ := served(t, false)
	answer, _ := io.ReadAll(dial(t, address, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	if !strings.HasSuffix(string(answer), "OPTIONS *") {
		t.Errorf("answered %q", answer)
	}
}

// TLS 1.2 without authenticated encryption or forward secrecy is refused.
func TestCipherSuites(t *testing.T) {
	address, _ := served(t, true)
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if len(suite.SupportedVersions) == 1 && suite.SupportedVersions[0] == tls.VersionTLS13 {
			continue
		}
		connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
		if err == nil {
			_ = connection.Close()
		}
		want := strings.Contains(suite.Name, "ECDHE_RSA") && (strings.Contains(suite.Name, "GCM") || strings.Contains(suite.Name, "CHACHA20"))
		if (err == nil) != want {
			t.Errorf("%s: %v", suite.Name, err)
		}
	}
}

// What net/http logs of connections is structured, and one line of a kind however many there are.
func TestServerLog(t *testing.T) {
	var lines []string
	logger := funcr.NewJSON(func(line string) { lines = append(lines, line) }, funcr.Options{})
	server := &http.Server{}
	Harden(server, logger)
	for port := range 1000 {
		server.ErrorLog.Printf("http: TLS handshake error from 192.0.2.%d:%d: EOF", port%256, port)
		server.ErrorLog.Printf("http: TLS handshake error from [2001:db8::%x]:%d: EOF", port, port)
	}
	server.ErrorLog.Printf("http: Accept error: too many open files; retrying in 5ms")
	if len(lines) != 2 {
		t.Errorf("%d lines: %.600q", len(lines), lines)
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	address, log := served(t, true)
	for range 10 {
		_ = dial(t, address, "\x16\x03\x01\x00\x02\xff\xff").CloseWrite()
	}
	// The server is asked once more: by then it has seen some of them fail.
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close()
	for _, line := range log() {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}
