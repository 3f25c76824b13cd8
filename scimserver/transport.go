package scimserver

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"github.com/go-logr/logr"

	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Transport is what stands below HTTP.
type Transport struct {
	// MaxConnections bounds the open connections, and a quarter of it those from one address that is no trusted proxy's.
	MaxConnections int
	TrustedProxies flowcontrol.Proxies
	// TLS says that the listener's connections begin with a handshake.
	TLS bool
	Log logr.Logger
}

// Limit bounds a TCP listener's connections. A client that speaks HTTP where TLS is served, or TLS where it is not, is told so.
// It belongs below tls.NewListener.
func (t Transport) Limit(listener net.Listener) net.Listener {
	var tally flowcontrol.Tally[netip.Prefix]
	limited := flowcontrol.LimitConnections(listener, t.MaxConnections, t.TrustedProxies, func(from netip.Prefix) {
		refusedConnections.Inc()
		if tally.Add(from) {
			t.Log.Info("Closed a connection: too many are open, in all or from there", "from", from.String(), "most", t.MaxConnections)
		}
	})
	return &spokenListener{Listener: limited, tls: t.TLS}
}

// TLSConfig serves TLS 1.2 with forward secrecy and authenticated encryption, and TLS 1.3, by HTTP/1.1.
func TLSConfig(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2: none with CBC
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: certificate,
		NextProtos:     []string{"http/1.1"},
	}
}

// Harden sets what an http.Server of SCIM needs beside its timeouts: OPTIONS * goes to the handler, and what net/http logs of
// single connections, such as failed handshakes, becomes structured lines, the first of each kind in a minute.
func Harden(server *http.Server, log logr.Logger) {
	server.DisableGeneralOptionsHandler = true
	server.ErrorLog = stdlog.New(&serverLog{log: log}, "", 0)
}

// serverLog takes the lines of an http.Server.
type serverLog struct {
	log   logr.Logger
	tally flowcontrol.Tally[string]
}

// peerAddress is what differs between lines of a kind.
var peerAddress = regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:.%a-z]+\]):\d+`)

func (l *serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	kind := peerAddress.ReplaceAllString(text, "a client")
	if first, _, found := strings.Cut(kind, "\n"); found {
		kind = first
	}
	if l.tally.Add(kind[:min(len(kind), 200)]) {
		l.log.Info("Connection failed", "message", text)
	}
	return len(line), nil
}

// spokenListener looks at the first byte of each connection.
type spokenListener struct {
	net.Listener
	tls bool
}

func (l *spokenListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &spoken{Conn: connection, tls: l.tls}, nil
}

// spoken is a connection of a client that may have mistaken the port.
type spoken struct {
	net.Conn
	tls, known bool
}

// handshake is the first byte of TLS (RFC 8446 section 5.1). No request of HTTP begins with it.
const handshake = 0x16

const (
	speaksTLS  = "This port serves HTTPS: use https:// in the URL."
	speaksHTTP = "This port serves HTTP without TLS: use http:// in the URL, or have the server given a certificate."
)

// Read answers a client that speaks the other protocol. The error is net.ErrClosed then.
func (c *spoken) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	if c.known || n == 0 {
		return n, err
	}
	c.known = true
	switch beginsTLS := into[0] == handshake; {
	case beginsTLS == c.tls:
		return n, err
	case c.tls && (into[0] < 'A' || into[0] > 'z'):
		return n, err // neither: the handshake fails
	}
	detail := speaksHTTP
	if c.tls {
		detail = speaksTLS
	}
	body, marshalErr := json.Marshal(&protocol.Error{Status: http.StatusBadRequest, Detail: detail})
	if marshalErr == nil {
		_, _ = fmt.Fprintf(c.Conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			contentType, len(body), body)
	}
	_ = c.Close()
	return 0, net.ErrClosed
}
