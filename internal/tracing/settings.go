package tracing

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// settings are what the environment says beyond what OpenTelemetry's own exporter and processor read of it.
type settings struct {
	on          bool
	sampler     sdktrace.Sampler
	samplerName string
}

// readSettings returns the settings, or which variable cannot be followed and why. It quotes no address: that may hold a password.
func readSettings(getenv func(string) string) (settings, error) {
	value := func(name string) string { return strings.TrimSpace(getenv(name)) }
	endpoint := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	if value(endpoint) == "" {
		endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	}
	exporter := value("OTEL_TRACES_EXPORTER")
	switch {
	case strings.EqualFold(value("OTEL_SDK_DISABLED"), "true"), exporter == "none", exporter == "" && value(endpoint) == "":
		return settings{}, nil
	case exporter != "" && exporter != "otlp":
		return settings{}, fmt.Errorf("OTEL_TRACES_EXPORTER=%s: only otlp and none are known", exporter)
	}
	protocol := cmp.Or(value("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), value("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if protocol != "http/protobuf" {
		return settings{}, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%s: only http/protobuf is spoken, as a rule on port 4318", protocol)
	}
	if address := value(endpoint); address != "" {
		if parsed, err := url.Parse(address); err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
			return settings{}, fmt.Errorf("%s is no URL that begins with http:// or https://", endpoint)
		}
	}
	name := strings.ToLower(cmp.Or(value("OTEL_TRACES_SAMPLER"), "parentbased_always_on"))
	sampler, err := newSampler(name, value("OTEL_TRACES_SAMPLER_ARG"))
	return settings{on: err == nil, sampler: sampler, samplerName: name}, err
}

// newSampler returns the sampler of a name. Every trace begins at this operator, so that one by a parent is the one that it has for
// traces without a parent.
func newSampler(name, argument string) (sdktrace.Sampler, error) {
	switch strings.TrimPrefix(name, "parentbased_") {
	case "always_on":
		return sdktrace.AlwaysSample(), nil
	case "always_off":
		return sdktrace.NeverSample(), nil
	case "traceidratio":
		ratio, err := strconv.ParseFloat(cmp.Or(argument, "1"), 64)
		if err == nil && (ratio < 0 || ratio > 1 || math.IsNaN(ratio)) {
			err = errors.New("it is not from 0 to 1")
		}
		if err != nil {
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG=%s is no share of traces: %w", argument, err)
		}
		return sdktrace.TraceIDRatioBased(ratio), nil
	}
	return nil, fmt.Errorf("OTEL_TRACES_SAMPLER=%s: always_on, always_off and traceidratio are known, also after parentbased_", name)
}
