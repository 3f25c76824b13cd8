package telemetry

import (
	"io"
	"log/slog"
	"testing"

	"github.com/go-logr/logr"
)

// Of the lines that are logged the audit logger's are remembered, with their fields, and no others.
func TestAuditLinesAreRemembered(t *testing.T) {
	log := logr.FromSlogHandler(Remember(slog.NewJSONHandler(io.Discard, nil)))
	before := len(Facts())
	log.Info("Answered", "status", 200)
	log.WithName("tracing").Info("Lost traces", "logger", "audit")
	log.WithName("audit").WithName("more").Info("SCIM change")
	log.Info("Answered", "status", 200, "logger", "audit")
	log.Info("Without fields")
	if facts := Facts(); len(facts) != before {
		t.Errorf("remembered %+v", facts[0])
	}
	log.WithValues("requestID", "one").WithName("audit").Info("SCIM change", "action", "create", "attributes", []string{"active"})
	facts := Facts()
	if len(facts) != before+1 || facts[0].Fields["action"].String() != "create" || facts[0].Fields["logger"].String() != "audit" {
		t.Fatalf("remembered %+v", facts)
	}
}
