package informers

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
)

// failingUntil lists and watches once its time has come, and fails until then.
func failingUntil(end time.Time, attempts *int, err error) toolscache.ListerWatcher {
	return &toolscache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			if *attempts++; time.Now().Before(end) {
				return nil, err
			}
			return &corev1.NodeList{}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			if *attempts++; time.Now().Before(end) {
				return nil, err
			}
			return watch.NewEmptyWatch(), nil
		},
	}
}

// After an outage of five minutes the next attempt comes within two seconds.
func TestRetryingAfterALongOutage(t *testing.T) {
	for _, what := range []string{"list", "watch"} {
		synctest.Test(t, func(t *testing.T) {
			attempts, end := 0, time.Now().Add(5*time.Minute)
			lw := toolscache.ToListerWatcherWithContext(Retrying(failingUntil(end, &attempts, errors.New("connection refused"))))
			var err error
			if what == "list" {
				_, err = lw.ListWithContext(t.Context(), metav1.ListOptions{})
			} else {
				_, err = lw.WatchWithContext(t.Context(), metav1.ListOptions{})
			}
			if late := time.Since(end); err != nil || late > 2*time.Second {
				t.Errorf("%s: %s after the end, error %v", what, late, err)
			}
			if attempts < 150 || attempts > 400 {
				t.Errorf("%s: %d attempts in five minutes", what, attempts)
			}
		})
	}
}

// The end of its context ends it at once.
func TestRetryingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun, attempts, failure := time.Now(), 0, errors.New("connection refused")
		lw := toolscache.ToListerWatcherWithContext(Retrying(failingUntil(begun.Add(time.Hour), &attempts, failure)))
		if _, err := lw.ListWithContext(ctx, metav1.ListOptions{}); !errors.Is(err, failure) || time.Since(begun) != time.Minute {
			t.Errorf("after %s, error %v", time.Since(begun), err)
		}
	})
}

// What a reflector decides by reaches it.
func TestRetryingLeavesDecisionsToTheReflector(t *testing.T) {
	tooLarge := apierrors.NewTimeoutError("too large", 1)
	tooLarge.ErrStatus.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}}
	for name, failure := range map[string]error{
		"expired": apierrors.NewResourceExpired("old"), "too large": tooLarge,
		"unknown way": apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", nil), "bad": apierrors.NewBadRequest("x"),
	} {
		attempts := 0
		lw := toolscache.ToListerWatcherWithContext(Retrying(failingUntil(time.Now().Add(time.Hour), &attempts, failure)))
		if _, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{}); !errors.Is(err, failure) || attempts != 1 {
			t.Errorf("%s: %d attempts, error %v", name, attempts, err)
		}
	}
}
