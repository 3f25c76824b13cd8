package observe_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// received are the spans that the processes sent, as any OTLP/HTTP receiver gets them.
var received = &receiver{}

type receiver struct {
	mutex sync.Mutex
	raw   bytes.Buffer
	spans []span
}

// span is one span and the process that made it.
type span struct {
	*otlp.Span
	service string
}

func (s span) attribute(key string) string {
	for _, attribute := range s.Attributes {
		if attribute.Key == key {
			return text(attribute.Value)
		}
	}
	return ""
}

func text(value *common.AnyValue) string {
	if value == nil {
		return ""
	}
	if _, isText := value.Value.(*common.AnyValue_StringValue); isText {
		return value.GetStringValue()
	}
	return fmt.Sprint(value.GetIntValue())
}

func (s span) trace() string { return fmt.Sprintf("%x", s.TraceId) }

// start has every process of this package send its spans here, until the tests end.
func (r *receiver) start() error {
	return os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", httptest.NewServer(r).URL)
}

// ServeHTTP takes an export request of OTLP/HTTP.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body := io.Reader(request.Body)
	if request.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(body)
	}
	data, err := io.ReadAll(body)
	message := &collector.ExportTraceServiceRequest{}
	if err != nil || request.URL.Path != "/v1/traces" || proto.Unmarshal(data, message) != nil {
		http.Error(w, "no export request", http.StatusBadRequest)
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.raw.Write(data)
	for _, resource := range message.ResourceSpans {
		service := ""
		for _, attribute := range resource.Resource.Attributes {
			if attribute.Key == "service.name" {
				service = attribute.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, one := range scope.Spans {
				r.spans = append(r.spans, span{one, service})
			}
		}
	}
}

// traceOf returns the spans of the trace with the latest first span of that name about a resource.
func (r *receiver) traceOf(name, id string) []span {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	trace := ""
	for _, one := range r.spans {
		if one.Name == name && one.attribute("scim.id") == id {
			trace = one.trace()
		}
	}
	var spans []span
	for _, one := range r.spans {
		if trace != "" && one.trace() == trace {
			spans = append(spans, one)
		}
	}
	return spans
}

// has fails unless a trace has spans of these services and names, the parents of all of them too.
func has(spans []span, want ...string) error {
	ids, found := map[string]bool{}, map[string]bool{}
	for _, one := range spans {
		ids[string(one.SpanId)] = true
		found[strings.TrimPrefix(one.service, "scim-operator-")+": "+one.Name] = true
	}
	for _, name := range want {
		if !found[name] {
			return fmt.Errorf("no span %q among %v", name, found)
		}
	}
	roots := 0
	for _, one := range spans {
		if len(one.ParentSpanId) == 0 {
			roots++
		} else if !ids[string(one.ParentSpanId)] {
			return fmt.Errorf("the parent of %s is in no process", one.Name)
		}
	}
	return unless(roots == 1, "%d first spans", roots)
}

// One request is one trace, over both processes: the request, its writes, the evaluation, the bindings, the status.
func TestOneTraceOfBothProcesses(t *testing.T) {
	scene := lively().play(t)
	scim := operator.Client(operator.Server, "/scim/v2", scene.app, okta.AppWizard)
	scim.Retries = 20
	traced := okta.Assign(okta.NewProfile("traced.person@example.com"))
	_, err := scim.AssignUser(t.Context(), traced)
	must(t, err)
	operator.AccessSoon(t, scene.app.Subject(traced.Profile.UserName), harness.Everywhere("viewer"))
	eventually(t, "the trace of a new user", func() error {
		return has(received.traceOf("POST /Users", traced.ID),
			"server: POST /Users", "server: wait for a turn", "server: POST users.scim-operator.io", "server: POST nameclaims.scim-operator.io",
			"controller: evaluate User", "controller: write bindings", "controller: PUT users.scim-operator.io/status")
	})
	spans := received.traceOf("POST /Users", traced.ID)
	t.Logf("%d spans of a POST", len(spans))
	if !slices.ContainsFunc(spans, func(s span) bool {
		return s.service == "scim-operator-controller" && strings.HasSuffix(s.Name, " rolebindings.rbac.authorization.k8s.io")
	}) {
		t.Error("no span of a native binding")
	}
	// The log has the id of the trace: the request's, twice.
	if id := spans[0].trace(); id[:16] != id[16:] || !strings.Contains(operator.ServerLog.String(), `"requestID":"`+id[:16]+`"`) {
		t.Errorf("the server's log does not name the request of trace %s", id)
	}
	_, err = scim.Deactivate(t.Context(), traced)
	must(t, err)
	eventually(t, "the trace of a leaver", func() error {
		for _, name := range []string{"PUT /Users/{id}", "PATCH /Users/{id}"} {
			if spans := received.traceOf(name, traced.ID); len(spans) > 0 {
				return has(spans, "server: wait until access is gone", "controller: evaluate User", "controller: write bindings",
					"controller: PUT users.scim-operator.io/status")
			}
		}
		return unless(false, "no trace of a change of the user")
	})
	namesNobody(t, scene.app.Token)
}

// namesNobody: of people there is nothing in spans but ids, and of credentials nothing at all.
func namesNobody(t *testing.T, token string) {
	t.Helper()
	received.mutex.Lock()
	defer received.mutex.Unlock()
	if received.raw.Len() == 0 {
		t.Fatal("nothing was received")
	}
	for _, text := range []string{token, "traced.person@", "member@", "leaver@", "@example.com", "Bearer", "filter="} {
		if bytes.Contains(received.raw.Bytes(), []byte(text)) {
			t.Errorf("the spans hold %q", text)
		}
	}
	for _, one := range received.spans {
		if one.attribute("http.response.status_code") == "401" && one.service == "scim-operator-server" && one.Kind == otlp.Span_SPAN_KIND_SERVER {
			t.Error("a request that no token opened made a trace")
		}
	}
}

// Exemplars name the trace, where there is one.
func TestExemplarsNameTraces(t *testing.T) {
	lively().play(t)
	text := scrape(t, operator.Controller, "application/openmetrics-text; version=1.0.0")
	_, labels, found := strings.Cut(text, `# {request_id="`)
	if !found {
		t.Fatal("no exemplar")
	}
	if id := labels[:16]; !strings.HasPrefix(labels[16:], `",trace_id="`+id+id+`"}`) {
		t.Errorf("the exemplar is %q", labels[:80])
	}
}
