package tracing

import (
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Transport makes a span of each request to the API server that is made within a span, and tells the API server of it by the header
// traceparent. Without tracing it returns next.
func Transport(next http.RoundTripper) http.RoundTripper {
	if !Enabled() {
		return next
	}
	return &transport{next}
}

type transport struct{ next http.RoundTripper }

// WrappedRoundTripper returns what this one stands before, for client-go, which looks through wrappers.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip sends a request. The span ends when the answer begins.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, span := begin(request.Context(), "API server", trace.SpanKindClient)
	if !span.IsRecorded() {
		return t.next.RoundTrip(request)
	}
	defer span.End()
	target := parseTarget(request.URL.Path)
	span.Rename(request.Method + " " + target.resource)
	span.Text("http.request.method", request.Method)
	span.Text("k8s.resource", target.resource)
	span.Text("k8s.namespace.name", target.namespace)
	span.Text("k8s.object.name", target.name)
	request = request.Clone(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(request.Header))
	response, err := t.next.RoundTrip(request)
	if err != nil {
		span.Fail("no_answer")
		return response, err
	}
	span.Number("http.response.status_code", response.StatusCode)
	if response.StatusCode >= http.StatusBadRequest {
		span.Fail(strconv.Itoa(response.StatusCode))
	}
	return response, nil
}

// target is what a request to the API server is about.
type target struct {
	// resource with its group and subresource, such as users.scim-operator.io/status.
	resource, namespace, name string
}

// parseTarget takes a path apart, as in /apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE.
func parseTarget(path string) (t target) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	group := ""
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, parts = "."+parts[1], parts[3:]
	default:
		return target{resource: "other"}
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		t.namespace, parts = parts[1], parts[2:]
	}
	t.resource = parts[0] + group
	if len(parts) > 1 {
		t.name = parts[1]
	}
	if len(parts) > 2 {
		t.resource += "/" + parts[2]
	}
	return t
}
