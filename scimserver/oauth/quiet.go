package oauth

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
)

// library begins the names of the functions whose records are left out.
const library = "github.com/zitadel/oidc/"

// Quiet is a handler of log records without those of the library, which logs by slog's default logger: they hold what clients sent,
// among it the state, and every request has a line of its own anyway.
func Quiet(next slog.Handler) slog.Handler { return quiet{next} }

type quiet struct{ slog.Handler }

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, record slog.Record) error {
	frame, _ := runtime.CallersFrames([]uintptr{record.PC}).Next()
	if strings.HasPrefix(frame.Function, library) {
		return nil
	}
	return q.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attributes []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attributes)}
}

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
