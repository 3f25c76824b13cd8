package tracing

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// maxOrigins bounds the traces that one span of shared work names.
const maxOrigins = 32

// Span is one span. The zero value is none: its methods do nothing.
type Span struct{ span trace.Span }

// Text sets an attribute, unless the value is empty.
func (s Span) Text(key, value string) {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Number sets an attribute.
func (s Span) Number(key string, value int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// Rename gives the span its name.
func (s Span) Rename(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Fail marks the span as failed. kind is a word for the failure: texts of errors name people.
func (s Span) Fail(kind string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, "")
		s.span.SetAttributes(attribute.String("error.type", kind))
	}
}

// End ends the span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// IsRecorded reports whether the span is one: whether attributes are worth working out.
func (s Span) IsRecorded() bool { return s.span != nil }

// Request begins the trace of a client's request, if it is sampled: a client has no say in that. A trace that the client tells of by a
// header traceparent is linked.
func Request(ctx context.Context, id string, header http.Header) (context.Context, Span) {
	p := current.Load()
	if p == nil {
		return ctx, Span{}
	}
	begin, sampled := p.traceOf(id)
	if !sampled {
		return ctx, Span{}
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot()}
	client := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(header)))
	if client.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: client}))
	}
	ctx, span := p.tracer.Start(context.WithValue(ctx, rootKey{}, begin), "request", options...)
	return ctx, Span{span}
}

// Follow begins a span of work that clients' requests led to, maybe in another process. It is in the trace of the first request that
// is sampled, and names the traces of others. Without one there is no span.
func Follow(ctx context.Context, name string, requests []string) (context.Context, Span) {
	p := current.Load()
	if p == nil {
		return ctx, Span{}
	}
	var origins Origins
	for _, id := range requests {
		if origin, sampled := p.traceOf(id); sampled {
			origins = append(origins, origin)
		}
	}
	return origins.begin(ctx, p, name, trace.SpanKindConsumer)
}

// Begin begins a span of work within the one that ctx carries; without one there is none.
func Begin(ctx context.Context, name string) (context.Context, Span) {
	return begin(ctx, name, trace.SpanKindInternal)
}

func begin(ctx context.Context, name string, kind trace.SpanKind) (context.Context, Span) {
	p := current.Load()
	if p == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, Span{}
	}
	ctx, span := p.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, Span{span}
}

// Origins are the spans of callers that share work. The zero value is none.
type Origins []trace.SpanContext

// From returns the span that ctx carries, if any.
func From(ctx context.Context) Origins {
	if current.Load() == nil {
		return nil
	}
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		return Origins{span}
	}
	return nil
}

// And adds other origins, as long as there is room.
func (o Origins) And(others Origins) Origins {
	return append(o, others[:min(len(others), max(maxOrigins-len(o), 0))]...)
}

// Begin begins a span of work that all of the origins share: in the trace of the first one, with links to the others.
func (o Origins) Begin(ctx context.Context, name string) (context.Context, Span) {
	p := current.Load()
	if p == nil {
		return ctx, Span{}
	}
	return o.begin(ctx, p, name, trace.SpanKindInternal)
}

func (o Origins) begin(ctx context.Context, p *provider, name string, kind trace.SpanKind) (context.Context, Span) {
	if len(o) == 0 {
		return ctx, Span{}
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(kind)}
	for _, other := range o[1:min(len(o), maxOrigins)] {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: other}))
	}
	ctx, span := p.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, o[0]), name, options...)
	return ctx, Span{span}
}

// TraceID returns the id of a request's trace; empty where there is none.
func TraceID(request string) string {
	p := current.Load()
	if p == nil {
		return ""
	}
	span, sampled := p.traceOf(request)
	if !sampled {
		return ""
	}
	return span.TraceID().String()
}

// traceOf returns the first span of a request's trace, and whether the trace is sampled. An id of another form has none.
func (p *provider) traceOf(request string) (trace.SpanContext, bool) {
	var id trace.SpanID
	if n, err := hex.Decode(id[:], []byte(request[:min(len(request), 2*len(id))])); err != nil || n != len(id) || len(request) != 2*len(id) || !id.IsValid() {
		return trace.SpanContext{}, false
	}
	traceID := trace.TraceID(append(append(make([]byte, 0, 16), id[:]...), id[:]...))
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: id, TraceFlags: trace.FlagsSampled, Remote: true})
	return span, p.sampled(traceID)
}

// rootKey is of the context value that tells ids what the first span of a trace is called.
type rootKey struct{}

// ids makes the ids of spans: by chance, but for a request's first one.
type ids struct{}

// NewIDs returns the ids that Request chose.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if root, chosen := ctx.Value(rootKey{}).(trace.SpanContext); chosen {
		return root.TraceID(), root.SpanID()
	}
	var id trace.TraceID
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64()|1) //nolint:gosec // ids of spans need no secrecy
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())   //nolint:gosec // as above
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID returns an id that is not zero.
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.NativeEndian.PutUint64(id[:], rand.Uint64()|1) //nolint:gosec // ids of spans need no secrecy
	return id
}
