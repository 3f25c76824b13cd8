package directory

import "github.com/scim-operator/scim-operator/internal/telemetry"

var (
	readModelEntries = telemetry.Gauge(telemetry.Server, "read_model_entries",
		"Users and groups in this replica's memory, by kind, whether clients see them or not.", "kind")
	readModelBytes = telemetry.Gauge(telemetry.Server, "read_model_bytes",
		"Rendered JSON of users in this replica's memory, which is most of the read model.").WithLabelValues()
)

// account follows one change of a read model: by is 1 for an entry that came, and -1 for one that went.
func account(e any, by float64) {
	switch e := e.(type) {
	case *Entry:
		readModelEntries.WithLabelValues("User").Add(by)
		readModelBytes.Add(by * float64(len(e.body)))
	case *groupEntry:
		readModelEntries.WithLabelValues("Group").Add(by)
	}
}

// beginAccount forgets what a former read model of the process held.
func beginAccount(e any) {
	switch e.(type) {
	case *Entry:
		readModelEntries.WithLabelValues("User").Set(0)
		readModelBytes.Set(0)
	case *groupEntry:
		readModelEntries.WithLabelValues("Group").Set(0)
	}
}
