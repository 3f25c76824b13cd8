package informers

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
)

// Retrying returns a ListerWatcher that tries again by itself, every 0.1 to 2 seconds, until it succeeds or its context
// ends.
//
// A reflector waits up to a minute between attempts after an outage of half a minute. A leaver would keep access for as
// long. Errors by which a reflector chooses how to go on are returned to it at once: a resourceVersion that is too old, or a
// kind of request that the API server does not know.
func Retrying(inner toolscache.ListerWatcher) toolscache.ListerWatcher {
	return &retrying{ListerWatcher: inner, inner: toolscache.ToListerWatcherWithContext(inner)}
}

// retrying embeds what a ListerWatcher without contexts has, which reflectors do not call.
type retrying struct {
	toolscache.ListerWatcher
	inner toolscache.ListerWatcherWithContext
}

// ListWithContext implements toolscache.ListerWithContext. It returns the errors that Retrying names.
func (r *retrying) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	return persistently(ctx, func() (runtime.Object, error) { return r.inner.ListWithContext(ctx, options) })
}

// WatchWithContext implements toolscache.WatcherWithContext. It returns the errors that Retrying names.
func (r *retrying) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return persistently(ctx, func() (watch.Interface, error) { return r.inner.WatchWithContext(ctx, options) })
}

// IsWatchListSemanticsUnSupported says what the inner one says, if anything: reflectors ask for it by this name.
func (r *retrying) IsWatchListSemanticsUnSupported() bool {
	inner, asks := r.ListerWatcher.(interface{ IsWatchListSemanticsUnSupported() bool })
	return asks && inner.IsWatchListSemanticsUnSupported()
}

// retryBackoff stays at its Cap for as long as attempts fail.
var retryBackoff = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.3, Steps: 5, Cap: 1500 * time.Millisecond}

func persistently[T any](ctx context.Context, attempt func() (T, error)) (T, error) {
	var result T
	var err error
	_ = retryBackoff.DelayFunc().Until(ctx, true, true, func(context.Context) (bool, error) {
		result, err = attempt()
		return err == nil || reflectorDecides(err), nil
	}) // where ctx ends, the last attempt's error says more
	return result, err
}

// reflectorDecides says whether the reflector goes on in another way after such an error.
func reflectorDecides(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || // it lists anew
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) || // it asks for any version
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err) // it lists in another way
}
