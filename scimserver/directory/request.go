package directory

import "context"

type requestKey struct{}

// WithRequest returns a context whose writes leave the id of the client's request on the users that they change, so that what
// follows from a change can be traced to it.
func WithRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}
