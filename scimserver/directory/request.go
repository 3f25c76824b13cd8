package directory

import "context"

type requestKey struct{}

// WithRequest returns a context that carries the id of the client's request. A write with it leaves the id on the user that
// it changes, so that the effects of a change can be traced to the request.
func WithRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}
