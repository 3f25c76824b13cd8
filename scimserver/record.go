package scimserver

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/internal/telemetry"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

var (
	requestsTotal = telemetry.Counter(telemetry.Server, "requests_total",
		"SCIM requests by endpoint, method, status code and App; without an App where no token opened one. Exemplars have the request's id.",
		"namespace", "app", "endpoint", "method", "code")
	requestSeconds = telemetry.Histogram(telemetry.Server, "request_duration_seconds",
		"Time to answer SCIM requests, by endpoint and method. A deactivation waits for the access to be gone. Exemplars have the request's id.",
		[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "endpoint", "method")
	deactivations = telemetry.Counter(telemetry.Server, "deactivations_total",
		"Answers to deactivations and deletions that waited for the access to be gone, by whether they could confirm that it was.",
		"namespace", "app", "confirmed")
	refusedRequests = telemetry.Counter(telemetry.Server, "refused_requests_total",
		"Requests beyond an App's limits by reason: rate, concurrency, memory, budget (processor time of a scan), or stalled (the client did not read or send).",
		"namespace", "app", "reason")
	failedAuthentications = telemetry.Counter(telemetry.Server, "failed_authentications_total",
		"Requests without a valid token, by whether they were answered as they are, or 429 because their source sends too many (backoff).",
		"answer")
	issuerReads = telemetry.Counter(telemetry.Server, "issuer_reads_total",
		"Reads of the keys of an App's issuer (spec.oidc) by result: success or error. The condition IssuerReachable has the cause.",
		"namespace", "app", "result")
	replayedAssertions = telemetry.Counter(telemetry.Server, "oauth_replays_total",
		"JWTs of an App's machine clients that came a second time, and were refused: they may be in other hands.",
		"namespace", "app")
	refusedConnections = telemetry.Counter(telemetry.Server, "refused_connections_total",
		"Connections closed at once because too many were open, in all or from one address.").WithLabelValues()
)

// record writes the log line and the metrics of a finished request. The query is left out, because filters name people;
// so are bodies, unless the operator asked for them, and credentials always.
func (s *Server) record(x *exchange, took time.Duration) {
	endpoint, method := x.operation()
	app := x.credential.app
	telemetry.Increment(requestsTotal.WithLabelValues(app.Namespace, app.Name, endpoint, method, strconv.Itoa(x.status)), x.requestID)
	telemetry.Observe(requestSeconds.WithLabelValues(endpoint, method), took.Seconds(), x.requestID)

	if x.quiet || !x.log.Enabled() {
		return
	}
	values := []any{
		"method", method, "endpoint", endpoint, "status", x.status,
		"milliseconds", float64(took.Microseconds()) / 1000, "bytes", x.written,
	}
	if x.credential.tokenID != "" {
		values = append(values, "app", x.credential.app.String(), "tokenID", x.credential.tokenID)
		values = append(values, x.credential.foreign.values()...)
	}
	if x.resourceID != "" {
		values = append(values, "id", x.resourceID)
	}
	if x.detail != "" {
		values = append(values, "detail", x.detail)
	}
	if s.options.LogBodies && x.requestBody != nil {
		values = append(values, "requestBody", string(protocol.RedactJSON(x.requestBody)))
	}
	x.log.Info("Answered", values...)
}

// operation names the endpoint and the method, by words of our own: what a client makes up must not make new time series.
func (x *exchange) operation() (endpoint, method string) {
	endpoint, method = cmp.Or(x.route.endpoint, "unknown"), x.request.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		method = "other"
	}
	return endpoint, method
}

// endSpan ends the first span of the request's trace. It has what the log line has, without what the client chose: the detail, and an
// id that is none. A request that no token opened has no trace, so that strangers cannot fill the queue of those to be sent: a span that is
// not ended is forgotten.
func (x *exchange) endSpan() {
	if !x.span.IsRecorded() || x.app == nil {
		return
	}
	endpoint, method := x.operation()
	route := "/" + endpoint
	if x.route.id != "" {
		route += "/{id}"
	}
	x.span.Rename(method + " " + route)
	x.span.Text("http.request.method", method)
	x.span.Text("http.route", route)
	x.span.Number("http.response.status_code", x.status)
	x.span.Text("scim.request_id", x.requestID)
	x.span.Text("scim.app", x.credential.app.String())
	x.span.Text("scim.token_id", x.credential.tokenID)
	if x.status < http.StatusBadRequest {
		x.span.Text("scim.id", x.resourceID)
	}
	if x.status == http.StatusTooManyRequests || x.status >= http.StatusInternalServerError {
		x.span.Fail(strconv.Itoa(x.status))
	}
	x.span.End()
}

// countRead counts a read of the keys of an App's issuer.
func countRead(app types.NamespacedName, err error) {
	result := "success"
	if err != nil {
		result = "error"
	}
	issuerReads.WithLabelValues(app.Namespace, app.Name, result).Inc()
}

// newRequestID returns 16 random hexadecimal digits that tie a request's log lines together.
func newRequestID() string {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "unknown"
	}
	return hex.EncodeToString(id[:])
}
