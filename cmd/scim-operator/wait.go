package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
)

const (
	// startDeadline is how long a start may meet one and the same refusal of an API server that answers. A start that lasts
	// because there is much to read has none.
	startDeadline = 100 * time.Second
	// attemptTimeout bounds one question whether the API server is there.
	attemptTimeout = 5 * time.Second
	// summaryInterval is how often the log repeats what is waited for.
	summaryInterval = time.Minute
)

// awaitKinds returns once the API server answers, is not too old, and knows the kinds. It tells the cause of the delay whenever it changes. It
// fails when ctx ends, and when an API server that is there refuses the question for startDeadline.
func awaitKinds(ctx context.Context, config *rest.Config, httpClient *http.Client, kinds []string, told func(error)) error {
	client, err := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	if err != nil {
		return err
	}
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 4, Cap: time.Second}
	var refusedSince time.Time
	return backoff.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		err := checkVersion(ctx, client.RESTClient())
		if err == nil {
			err = findKinds(ctx, client.RESTClient(), kinds)
		}
		if err == nil || ctx.Err() != nil {
			return true, ctx.Err()
		}
		told(err)
		switch {
		case informers.Away(err) || informers.Missing(err) || errors.As(err, new(missingKindsError)) || errors.As(err, new(oldServerError)):
			refusedSince = time.Time{}
		case refusedSince.IsZero():
			refusedSince = time.Now()
		case time.Since(refusedSince) > startDeadline:
			return false, err
		}
		return false, nil
	})
}

// missingKindsError names kinds that the API server does not know.
type missingKindsError []string

func (m missingKindsError) Error() string {
	return fmt.Sprintf("the API server does not know %s in %s: install the CRDs", strings.Join(m, ", "), v1alpha1.GroupVersion)
}

func findKinds(ctx context.Context, client rest.Interface, kinds []string) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	list := &metav1.APIResourceList{}
	err := client.Get().AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version).MaxRetries(0).Do(ctx).Into(list)
	if err != nil && !informers.Missing(err) {
		return fmt.Errorf("asking the API server for its kinds: %w", err)
	}
	var missing missingKindsError
	for _, kind := range kinds {
		if !slices.ContainsFunc(list.APIResources, func(known metav1.APIResource) bool { return known.Kind == kind }) {
			missing = append(missing, kind)
		}
	}
	if len(missing) > 0 {
		return missing
	}
	return nil
}

func pause(ctx context.Context, duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// delayLog logs a cause once, when another one takes its place, and in summary while it lasts.
type delayLog struct {
	log      logr.Logger
	begun    time.Time
	logged   time.Time
	cause    string
	attempts int
}

func (d *delayLog) tell(err error) {
	now := time.Now()
	if d.begun.IsZero() {
		d.begun = now
	}
	d.attempts++
	if d.cause == err.Error() && now.Sub(d.logged) < summaryInterval {
		return
	}
	d.cause, d.logged = err.Error(), now
	d.log.Info("Waiting", "for", d.cause, "since", now.Sub(d.begun).Round(time.Second).String(), "attempts", d.attempts)
}

func (d *delayLog) over() {
	if !d.begun.IsZero() {
		d.log.Info("The wait is over", "after", time.Since(d.begun).Round(time.Millisecond).String(), "attempts", d.attempts)
	}
	*d = delayLog{log: d.log}
}
