package telemetry

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// maxFacts is how many audit lines a process remembers.
const maxFacts = 50

// Fact is one line of the audit trail (docs/audit.md).
type Fact struct {
	Time   time.Time
	Fields map[string]slog.Value
}

var facts struct {
	sync.Mutex
	list []Fact
}

// Facts returns the last audit lines of this process, the newest first.
func Facts() []Fact {
	facts.Lock()
	defer facts.Unlock()
	newest := slices.Clone(facts.list)
	slices.Reverse(newest)
	return newest
}

// Remember returns a handler that keeps audit lines in memory, beside handing every line on. logr names its loggers by an
// attribute of each record.
func Remember(next slog.Handler) slog.Handler { return &rememberer{Handler: next} }

type rememberer struct{ slog.Handler }

func (r *rememberer) Handle(ctx context.Context, record slog.Record) error {
	if isAudit(record) {
		fields := make(map[string]slog.Value, record.NumAttrs())
		record.Attrs(func(attribute slog.Attr) bool {
			fields[attribute.Key] = attribute.Value
			return true
		})
		facts.Lock()
		facts.list = append(facts.list, Fact{Time: record.Time, Fields: fields})
		facts.list = facts.list[max(0, len(facts.list)-maxFacts):]
		facts.Unlock()
	}
	return r.Handler.Handle(ctx, record)
}

// isAudit says whether a line is the audit logger's: the name of its logger is a line's first attribute.
func isAudit(record slog.Record) (is bool) {
	record.Attrs(func(first slog.Attr) bool {
		is = first.Key == "logger" && first.Value.String() == "audit"
		return false
	})
	return is
}

func (r *rememberer) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &rememberer{Handler: r.Handler.WithAttrs(attributes)}
}

func (r *rememberer) WithGroup(name string) slog.Handler {
	return &rememberer{Handler: r.Handler.WithGroup(name)}
}
