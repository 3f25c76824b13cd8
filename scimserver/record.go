package scimserver

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

var (
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scim_requests_total",
		Help: "SCIM requests by endpoint, method and status code.",
	}, []string{"endpoint", "method", "code"})

	requestSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "scim_request_duration_seconds",
		Help:    "Time to answer SCIM requests, by endpoint and method.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"endpoint", "method"})

	revocations = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scim_revocations_total",
		Help: "Deactivations and deletions, by whether the answer could confirm that the access was gone.",
	}, []string{"confirmed"})

	refusedRequests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scim_refused_requests_total",
		Help: "Requests beyond an App's limits, by App and by what they had too much of: rate, concurrency, memory, budget (processor time of a scan), or stalled (the client did not read or send).",
	}, []string{"namespace", "app", "reason"})

	failedAuthentications = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scim_failed_authentications_total",
		Help: "Requests without a valid token, by whether they were answered as they are, or 429 because their source sends too many (backoff).",
	}, []string{"answer"})

	refusedConnections = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "scim_refused_connections_total",
		Help: "Connections closed at once because too many were open, in all or from one address.",
	})
)

func init() {
	metrics.Registry.MustRegister(requestsTotal, requestSeconds, revocations, refusedRequests, failedAuthentications, refusedConnections)
}

// record writes the log line and the metrics of a finished request. The query is left out, because filters name people;
// so are bodies, unless the operator asked for them, and credentials always.
func (s *Server) record(x *exchange, took time.Duration) {
	endpoint, method := x.route.endpoint, x.request.Method
	if endpoint == "" {
		endpoint = "unknown"
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		// Method names come from the client: they must not make new time series.
		method = "other"
	}
	requestsTotal.WithLabelValues(endpoint, method, strconv.Itoa(x.status)).Inc()
	requestSeconds.WithLabelValues(endpoint, method).Observe(took.Seconds())

	if x.quiet || !x.log.Enabled() {
		return
	}
	values := []any{
		"method", method, "endpoint", endpoint, "status", x.status,
		"milliseconds", float64(took.Microseconds()) / 1000, "bytes", x.written,
	}
	if x.credential.tokenID != "" {
		values = append(values, "app", x.credential.app.String(), "tokenID", x.credential.tokenID)
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

// newRequestID returns 16 random hexadecimal digits that tie a request's log lines together.
func newRequestID() string {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "unknown"
	}
	return hex.EncodeToString(id[:])
}
