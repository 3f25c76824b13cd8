package scimserver

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
)

// A refused request is counted under its App and its reason, once, and told when to come again; one that no later attempt can help is
// told to ask for less.
func TestRefusals(t *testing.T) {
	app := types.NamespacedName{Namespace: "refusals", Name: "app"}
	counted := func(reason string) float64 {
		t.Helper()
		var m dto.Metric
		if err := refusedRequests.WithLabelValues(app.Namespace, app.Name, reason).Write(&m); err != nil {
			t.Fatal(err)
		}
		return m.GetCounter().GetValue()
	}
	server := &Server{apps: flowcontrol.NewApps(0, 1<<20)}
	for _, reason := range []string{
		flowcontrol.ReasonRate, flowcontrol.ReasonConcurrency, flowcontrol.ReasonMemory, flowcontrol.ReasonBudget,
	} {
		t.Run(reason, func(t *testing.T) {
			before := counted(reason)
			recorder := httptest.NewRecorder()
			x := &exchange{server: server, request: httptest.NewRequest(http.MethodGet, "/Users", nil), writer: recorder, log: logr.Discard()}
			x.credential.app = app
			x.fail(&flowcontrol.RefusalError{Reason: reason, RetryAfter: 1500 * time.Millisecond, Detail: "Ask later."})
			status, retryAfter := http.StatusTooManyRequests, "2"
			if reason == flowcontrol.ReasonBudget {
				status, retryAfter = http.StatusBadRequest, ""
			}
			body := recorder.Body.String()
			if recorder.Code != status || recorder.Header().Get("Retry-After") != retryAfter || !strings.Contains(body, "Ask later.") ||
				!strings.Contains(body, strconv.Itoa(status)) {
				t.Errorf("answered %d, Retry-After %q: %s", recorder.Code, recorder.Header().Get("Retry-After"), body)
			}
			if got := counted(reason) - before; got != 1 {
				t.Errorf("the metric counts %v more", got)
			}
		})
	}
}
