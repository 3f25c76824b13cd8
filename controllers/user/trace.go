package user

import (
	"context"

	"github.com/scim-operator/scim-operator/internal/tracing"
)

// trace begins the span of an evaluation that clients' requests led to, in the trace of the first of them. An evaluation for another
// reason, or of a user with a status that tells of the request already, has none.
func (e report) trace(ctx context.Context) (context.Context, tracing.Span) {
	if !tracing.Enabled() {
		return ctx, tracing.Span{}
	}
	origin := e.origin(&e.user.Status)
	ctx, span := tracing.Follow(ctx, "evaluate User", origin.requests)
	if span.IsRecorded() {
		span.Text("scim.app", e.appName().String())
		span.Text("scim.id", e.name.Name)
	}
	return ctx, span
}
