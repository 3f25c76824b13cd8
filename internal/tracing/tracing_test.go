package tracing

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const (
	request = "0123456789abcdef"
	another = "fedcba9876543210"
)

// record makes spans for the duration of a test, and returns those that ended.
func record(t testing.TB, sampler sdktrace.Sampler) *tracetest.SpanRecorder {
	spans := tracetest.NewSpanRecorder()
	t.Cleanup(startWith(sdktrace.WithSpanProcessor(spans), describe(t.Context(), "test", "v0"), sampler))
	return spans
}

func TestSettings(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318"
	for name, test := range map[string]struct {
		env  []string
		on   bool
		want string // part of the error
	}{
		"nothing is set":     {nil, false, ""},
		"an address":         {[]string{endpoint}, true, ""},
		"for traces":         {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://collector/v1/traces"}, true, ""},
		"an exporter":        {[]string{"OTEL_TRACES_EXPORTER=otlp"}, true, ""},
		"disabled":           {[]string{endpoint, "OTEL_SDK_DISABLED=TRUE"}, false, ""},
		"no exporter":        {[]string{endpoint, "OTEL_TRACES_EXPORTER=none"}, false, ""},
		"unknown exporter":   {[]string{endpoint, "OTEL_TRACES_EXPORTER=zipkin"}, false, "OTEL_TRACES_EXPORTER=zipkin"},
		"gRPC":               {[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, false, "http/protobuf"},
		"no URL":             {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318"}, false, "OTEL_EXPORTER_OTLP_ENDPOINT is no URL"},
		"a secret in it":     {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=ftp://me:hunter2@collector"}, false, "is no URL"},
		"a share":            {[]string{endpoint, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.1"}, true, ""},
		"no share":           {[]string{endpoint, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=2"}, false, "from 0 to 1"},
		"not a number":       {[]string{endpoint, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=NaN"}, false, "from 0 to 1"},
		"an unknown sampler": {[]string{endpoint, "OTEL_TRACES_SAMPLER=jaeger_remote"}, false, "OTEL_TRACES_SAMPLER=jaeger_remote"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readSettings(func(name string) string {
				for _, set := range test.env {
					if value, found := strings.CutPrefix(set, name+"="); found {
						return value
					}
				}
				return ""
			})
			if got.on != test.on || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("on %t, error %v; want %t, %q", got.on, err, test.on, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the error quotes a password")
			}
		})
	}
}

// A setting that cannot be followed ends no process.
func TestStartWithoutACollector(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	Start(t.Context(), "test", "v0", logr.Discard())()
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "")
	stop := Start(t.Context(), "test", "v0", logr.Discard())
	if !Enabled() {
		t.Error("an address did not switch it on")
	}
	_, span := Request(t.Context(), request, nil)
	span.End()
	stop()
	if Enabled() {
		t.Error("on after its end")
	}
}

// Without tracing, and for requests that are not sampled, nothing is allocated on the way of a request.
func TestOffAllocatesNothing(t *testing.T) {
	path := func(t *testing.T) {
		t.Helper()
		ctx, header, requests := t.Context(), http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}, []string{request, another}
		allocated := testing.AllocsPerRun(100, func() {
			ctx, span := Request(ctx, request, header)
			ctx, inner := Begin(ctx, "inner")
			inner.Text("key", "value")
			inner.Number("key", 1)
			inner.End()
			_, followed := Follow(ctx, "work", requests)
			followed.Fail("why")
			_, shared := From(ctx).And(nil).Begin(ctx, "shared")
			shared.End()
			if TraceID(request) != "" {
				t.Error("a trace")
			}
			span.End()
		})
		if allocated != 0 {
			t.Errorf("%v allocations", allocated)
		}
	}
	t.Run("off", path)
	t.Run("not sampled", func(t *testing.T) {
		spans := record(t, sdktrace.NeverSample())
		path(t)
		if len(spans.Started()) != 0 {
			t.Error("spans")
		}
	})
	next := http.DefaultTransport
	if Transport(next) != next {
		t.Error("wraps a transport")
	}
}

// Both processes find one trace by the request's id.
func TestOneTrace(t *testing.T) {
	spans := record(t, sdktrace.AlwaysSample())
	ctx, root := Request(t.Context(), request, nil)
	_, inner := Begin(ctx, "inner")
	inner.End()
	root.End()
	// What another process knows is the id.
	ctx, follows := Follow(t.Context(), "work", []string{"unknown", "", request, another})
	_, shared := From(ctx).And(nil).Begin(t.Context(), "shared")
	shared.End()
	follows.End()
	byName := map[string]sdktrace.ReadOnlySpan{}
	for _, span := range spans.Ended() {
		byName[span.Name()] = span
		if got := span.SpanContext().TraceID().String(); got != request+request || got != TraceID(request) {
			t.Errorf("%s is in trace %s", span.Name(), got)
		}
	}
	parent := func(name string) string { return byName[name].Parent().SpanID().String() }
	if byName["request"].Parent().IsValid() || byName["request"].SpanContext().SpanID().String() != request {
		t.Errorf("the first span is %v, in %v", byName["request"].SpanContext(), byName["request"].Parent())
	}
	if parent("inner") != request || parent("work") != request || parent("shared") != byName["work"].SpanContext().SpanID().String() {
		t.Error("the parents are", parent("inner"), parent("work"), parent("shared"))
	}
	if links := byName["work"].Links(); len(links) != 1 || links[0].SpanContext.TraceID().String() != another+another {
		t.Errorf("links %v", links)
	}
}

// A share of requests is sampled, and it is the same one in every process.
func TestShare(t *testing.T) {
	sampled := func() (ids []string) {
		record(t, sdktrace.TraceIDRatioBased(0.25))
		for i := range 4000 {
			id := trace.SpanID{byte(i * 37), byte(i >> 3), byte(i), byte(i >> 8), 1, 2, 3, 4}.String()
			if TraceID(id) != "" {
				ids = append(ids, id)
			}
		}
		return ids
	}
	first, second := sampled(), sampled()
	if !slices.Equal(first, second) || len(first) < 500 || len(first) > 1500 {
		t.Errorf("%d and %d of 4000 are sampled", len(first), len(second))
	}
}

// A client can neither have itself sampled nor choose its trace: what it tells is linked.
func TestClientsTraceIsLinked(t *testing.T) {
	header := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	spans := record(t, sdktrace.AlwaysSample())
	_, span := Request(t.Context(), request, header)
	span.End()
	got := spans.Ended()[0]
	if got.SpanContext().TraceID().String() != request+request || got.Parent().IsValid() {
		t.Errorf("the client chose %v", got.SpanContext())
	}
	if links := got.Links(); len(links) != 1 || links[0].SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("links %v", links)
	}
}

// Shared work names a bounded number of callers.
func TestManyOrigins(t *testing.T) {
	spans := record(t, sdktrace.AlwaysSample())
	var origins Origins
	for range 100 {
		ctx, span := Request(t.Context(), request, nil)
		origins = origins.And(From(ctx))
		span.End()
	}
	_, span := origins.Begin(t.Context(), "shared")
	span.End()
	ended := spans.Ended()
	if links := ended[len(ended)-1].Links(); len(origins) != maxOrigins || len(links) != maxOrigins-1 {
		t.Errorf("%d origins, %d links", len(origins), len(links))
	}
}

// A request to the API server is one span, without its query and body; requests of watches are none.
func TestTransport(t *testing.T) {
	var headers []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers = append(headers, r.Header.Get("Traceparent"))
		w.WriteHeader(http.StatusConflict)
	}))
	defer server.Close()
	spans := record(t, sdktrace.AlwaysSample())
	client := &http.Client{Transport: Transport(http.DefaultTransport)}
	send := func(ctx context.Context) {
		url := server.URL + "/apis/scim-operator.io/v1alpha1/namespaces/people/users/jane-1/status?fieldManager=secret-text"
		request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if request.Header.Get("Traceparent") != "" {
			t.Error("the caller's request was changed")
		}
	}
	send(t.Context())
	ctx, span := Request(t.Context(), request, nil)
	send(ctx)
	span.End()
	if headers[0] != "" || !strings.HasPrefix(headers[1], "00-"+request+request+"-") {
		t.Errorf("traceparent %q", headers)
	}
	ended := spans.Ended()
	if len(ended) != 2 || ended[0].Name() != "PUT users.scim-operator.io/status" {
		t.Fatalf("spans %v", ended)
	}
	want := map[attribute.Key]string{
		"http.request.method": "PUT", "k8s.resource": "users.scim-operator.io/status", "k8s.namespace.name": "people", "k8s.object.name": "jane-1",
		"http.response.status_code": "409", "error.type": "409",
	}
	for _, got := range ended[0].Attributes() {
		if want[got.Key] != got.Value.String() {
			t.Errorf("%s is %q, want %q", got.Key, got.Value.String(), want[got.Key])
		}
	}
	if len(ended[0].Attributes()) != len(want) {
		t.Errorf("attributes %v", ended[0].Attributes())
	}
}

func TestParseTarget(t *testing.T) {
	for path, want := range map[string]target{
		"/api/v1/namespaces/a/secrets/b":                               {"secrets", "a", "b"},
		"/api/v1/namespaces":                                           {"namespaces", "", ""},
		"/api/v1/namespaces/a":                                         {"namespaces", "", "a"},
		"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/x":     {"clusterrolebindings.rbac.authorization.k8s.io", "", "x"},
		"/apis/rbac.authorization.k8s.io/v1/namespaces/a/rolebindings": {"rolebindings.rbac.authorization.k8s.io", "a", ""},
		"/apis/scim-operator.io/v1alpha1/namespaces/a/users/b/status":  {"users.scim-operator.io/status", "a", "b"},
		"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":       {"selfsubjectaccessreviews.authorization.k8s.io", "", ""},
		"/version": {resource: "other"}, "/": {resource: "other"}, "": {resource: "other"}, "/apis": {resource: "other"}, "/api/v1": {resource: "other"},
	} {
		if got := parseTarget(path); got != want {
			t.Errorf("%s is %+v, want %+v", path, got, want)
		}
	}
}

// BenchmarkSpan is what one span within a request costs, with two attributes.
func BenchmarkSpan(b *testing.B) {
	b.Run("off", func(b *testing.B) { benchmark(b.Context(), b) })
	b.Run("not sampled", func(b *testing.B) {
		record(b, sdktrace.NeverSample())
		benchmark(b.Context(), b)
	})
	b.Run("on", func(b *testing.B) {
		// Spans are dropped at once: what is measured is the request's share. A batch is encoded and sent beside requests.
		b.Cleanup(startWith(sdktrace.WithSpanProcessor(dropping{}), describe(b.Context(), "test", "v0"), sdktrace.AlwaysSample()))
		ctx, span := Request(b.Context(), request, nil)
		defer span.End()
		benchmark(ctx, b)
	})
}

func benchmark(ctx context.Context, b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, span := Begin(ctx, "inner")
		span.Text("scim.app", "people/okta")
		span.Number("http.response.status_code", 200)
		span.End()
	}
}

type dropping struct{ sdktrace.SpanProcessor }

func (dropping) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (dropping) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (dropping) Shutdown(context.Context) error                  { return nil }
func (dropping) ForceFlush(context.Context) error                { return nil }
