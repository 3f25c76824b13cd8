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
	fields := map[string]slog.Value{}
	record.Attrs(func(attribute slog.Attr) bool {
		if len(fields) == 0 && attribute.Key == "logger" && attribute.Value.String() != "audit" {
			return false
		}
		fields[attribute.Key] = attribute.Value
		return true
	})
	if fields["logger"].String() == "audit" {
		facts.Lock()
		facts.list = append(facts.list, Fact{Time: record.Time, Fields: fields})
		facts.list = facts.list[max(0, len(facts.list)-maxFacts):]
		facts.Unlock()
	}
	return r.Handler.Handle(ctx, record)
}

func (r *rememberer) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &rememberer{Handler: r.Handler.WithAttrs(attributes)}
}

func (r *rememberer) WithGroup(name string) slog.Handler {
	return &rememberer{Handler: r.Handler.WithGroup(name)}
}
