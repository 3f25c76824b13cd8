package directory

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/scim-operator/scim-operator/internal/retry"
)

// conflictBackoff spreads writers of one object out: 12 attempts within about two seconds. It has no Cap: a Backoff that reaches
// one makes no more attempts.
var conflictBackoff = wait.Backoff{Duration: 4 * time.Millisecond, Factor: 1.6, Jitter: 1, Steps: 12}

// onConflict calls attempt until it fails with anything but Conflict, or succeeds. It returns the last attempt's error, or the
// end of ctx.
func onConflict(ctx context.Context, attempt func(context.Context) error) error {
	return retry.While(ctx, conflictBackoff, apierrors.IsConflict, attempt)
}
