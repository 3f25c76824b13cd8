package informers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

const (
	// explainEvery is how often the cause of a lag is looked for: a list of a part of the kind.
	explainEvery   = 30 * time.Second
	explainTimeout = 5 * time.Second
	explainLimit   = 500
)

// LagError says that the API server answers, and has no current copy of a kind in its memory, which watches and many lists are answered from.
// So it is for a moment after its start, and for as long as etcd holds an object of the kind that it cannot read.
type LagError struct {
	// Err is what a list of the kind from etcd was refused with, if it was, else what the API server said of its copy.
	Err error
}

// Error implements error.
func (e *LagError) Error() string {
	return fmt.Sprintf("the API server's copy is not current: %v", e.Err)
}

// Unwrap returns the refusal.
func (e *LagError) Unwrap() error { return e.Err }

// lags says whether an answer tells of such a copy. By its status it is like that of an API server that has no time.
func lags(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) ||
		apierrors.IsTooManyRequests(err) && strings.Contains(err.Error(), "storage is (re)initializing")
}

// lag finds out why the API server has no current copy of a kind. The zero value is ready. Safe for concurrent use.
type lag struct {
	mu     sync.Mutex
	looked time.Time
	cause  error
}

// explain returns a LagError for an error that tells of a lag, and any other error as it is.
func (l *lag) explain(ctx context.Context, from toolscache.ListerWithContext, err error) error {
	if !lags(err) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.looked) > explainEvery {
		ctx, cancel := context.WithTimeout(ctx, explainTimeout)
		defer cancel()
		_, l.cause = from.ListWithContext(ctx, metav1.ListOptions{Limit: explainLimit})
		l.looked = time.Now()
	}
	if status := apierrors.APIStatus(nil); errors.As(l.cause, &status) && !Away(l.cause) {
		err = l.cause
	}
	return &LagError{Err: err}
}
