package scimserver

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// gateRetry is the Retry-After of a closed gate: a start takes seconds, and the API server may be away for longer.
const gateRetry = 5 * time.Second

// Gate is the handler of the SCIM port from a process's first moment on. It passes requests on to a Server while that may
// answer, and answers 429 with Retry-After and the reason otherwise: Okta then asks again by itself, where a refused connection
// or a 5xx would make it give up.
type Gate struct {
	// Closed returns why no request may pass, or nil. It is called for each request and must not block.
	Closed func() error
	// Log takes a line for each request that is kept out, where debugging messages are logged.
	Log logr.Logger

	open     atomic.Pointer[Server]
	draining atomic.Bool
}

// Open sets the Server that answers from now on.
func (g *Gate) Open(server *Server) { g.open.Store(server) }

// Drain asks clients to close their connections after the next answer, so that they make new ones to another replica.
// Requests are served as before.
func (g *Gate) Drain() { g.draining.Store(true) }

// ServeHTTP implements http.Handler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	server := g.open.Load()
	if server != nil {
		if err := g.Closed(); err == nil {
			server.ServeHTTP(w, r)
			return
		}
	}
	g.Log.V(1).Info("Kept a request out: this server is not ready", "method", r.Method)
	x := &exchange{writer: w, request: r, log: g.Log}
	w.Header().Set("Retry-After", retryAfterSeconds(gateRetry))
	x.fail(protocol.TooManyRequests("This server cannot reach its directory at the moment. Nothing is lost; try again."))
}
