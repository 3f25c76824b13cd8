// Package tracing makes OpenTelemetry spans of what a client's request leads to, in both processes. It is set up by OpenTelemetry's own
// environment variables and off without them; then its functions return at once and allocate nothing.
//
// A trace needs no room in an object: its id and that of its first span are made of the request's id, which the directory leaves on the
// objects that a request changes, and which of them are sampled follows from the id. So the controller finds the trace of a change by
// itself, and a log line's requestID, written twice, is the id of its trace.
//
// Spans leave the cluster. They hold ids, names of roles and status codes: no name of a person, no text of an error, and of a
// request neither query nor body.
package tracing

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// flushTimeout bounds how long an end waits for spans that were not sent yet.
	flushTimeout = 3 * time.Second
	// quiet is how long after a failure to send no other one is logged.
	quiet = time.Minute
)

// provider makes spans, while tracing is on.
type provider struct {
	tracer  trace.Tracer
	sampled func(trace.TraceID) bool
}

var current atomic.Pointer[provider]

// Enabled reports whether this process makes spans at all.
func Enabled() bool { return current.Load() != nil }

// Start begins to make spans if the environment asks for that, and returns what sends the last ones and ends it. Settings that cannot
// be followed are logged, and leave it off: no access may depend on a collector.
func Start(ctx context.Context, service, version string, log logr.Logger) (stop func()) {
	log = log.WithName("tracing")
	settings, err := readSettings(os.Getenv)
	if err != nil {
		log.Error(err, "Makes no traces")
	}
	if err != nil || !settings.on {
		return func() {}
	}
	otel.SetLogger(log)
	otel.SetErrorHandler(&errorLog{log: log})
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		log.Error(err, "Makes no traces")
		return func() {}
	}
	log.Info("Makes traces", "service", service, "sampler", settings.samplerName)
	return startWith(sdktrace.WithBatcher(exporter), describe(ctx, service, version), settings.sampler)
}

// startWith makes spans for a processor. The sampler is asked about ids of traces only; a span of a trace that is sampled is made.
func startWith(processor, described sdktrace.TracerProviderOption, sampler sdktrace.Sampler) (stop func()) {
	sdk := sdktrace.NewTracerProvider(processor, described, sdktrace.WithIDGenerator(ids{}), sdktrace.WithSampler(sdktrace.AlwaysSample()))
	current.Store(&provider{
		tracer: sdk.Tracer("github.com/scim-operator/scim-operator"),
		sampled: func(id trace.TraceID) bool {
			asked := sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: id}
			return sampler.ShouldSample(asked).Decision == sdktrace.RecordAndSample
		},
	})
	return func() {
		current.Store(nil)
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		_ = sdk.Shutdown(ctx) // a failure to send has been logged
	}
}

// describe names the process. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go first.
func describe(ctx context.Context, service, version string) sdktrace.TracerProviderOption {
	attributes := []attribute.KeyValue{attribute.String("service.name", service), attribute.String("service.version", version)}
	if host, err := os.Hostname(); err == nil {
		attributes = append(attributes, attribute.String("service.instance.id", host))
	}
	// What of the environment cannot be read is left out.
	described, err := resource.New(ctx, resource.WithAttributes(attributes...), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		otel.Handle(fmt.Errorf("describe this process: %w", err))
	}
	return sdktrace.WithResource(described)
}

// errorLog logs failures to send, one a minute.
type errorLog struct {
	log   logr.Logger
	mutex sync.Mutex
	last  time.Time
}

// Handle logs an error, if none was logged lately.
func (l *errorLog) Handle(err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if time.Since(l.last) < quiet {
		return
	}
	l.last = time.Now()
	l.log.Error(err, "Lost traces; further failures within a minute are not logged")
}
