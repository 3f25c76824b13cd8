package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// TestErrorsAsClientsSee: whatever the API server or the network says is an error of the protocol, or trouble that a client waits
// out. What is neither is a defect, and stays what it is.
func TestErrorsAsClientsSee(t *testing.T) {
	users := schema.GroupResource{Group: "scim-operator.io", Resource: "users"}
	kind := schema.GroupKind{Group: "scim-operator.io", Kind: "User"}
	invalid := func(errs ...*field.Error) error { return apierrors.NewInvalid(kind, "u", errs) }
	status := func(code int) error {
		return apierrors.NewGenericServerResponse(code, "get", users, "u", "trouble", 0, true)
	}
	defect := errors.New("a defect")
	for _, c := range []struct {
		what  string
		err   error
		user  int // a status, or 0 for trouble
		group int
		wait  time.Duration // of trouble
		says  string        // of an error of the protocol about a user, or of trouble
	}{
		{what: "taken", err: &claims.TakenError{}, user: 409, group: 409, says: "userName"},
		{what: "being released", err: claims.ErrReleasing, wait: retrySoon, says: "is being deleted"},
		{what: "contended", err: fmt.Errorf("claim: %w", claims.ErrContended), wait: retrySoon},
		{what: "a conflict", err: apierrors.NewConflict(users, "u", defect), wait: retrySoon},
		{what: "there already", err: apierrors.NewAlreadyExists(users, "u"), wait: retrySoon},
		{what: "too large", err: apierrors.NewRequestEntityTooLargeError("2 MiB"), user: 413, group: 413},
		{what: "forbidden", err: apierrors.NewForbidden(users, "u", errors.New(`User "system:serviceaccount:x:y" cannot update resource "users"`)), wait: retryRights, says: "rights"},
		{what: "forbidden by a plugin", err: apierrors.NewForbidden(users, "u", defect), wait: retryRights, says: "admission refuses this write of users"},
		{what: "unauthorized", err: apierrors.NewUnauthorized("who?"), wait: retryRights, says: "rights"},
		{what: "busy, with a delay", err: apierrors.NewTooManyRequests("slow down", 7), wait: 7 * time.Second},
		{what: "busy", err: status(http.StatusTooManyRequests), wait: retryLater},
		{what: "a timeout", err: apierrors.NewTimeoutError("too slow", 0), wait: retryLater},
		{what: "a request timeout", err: status(http.StatusRequestTimeout), wait: retryLater},
		{what: "unavailable", err: apierrors.NewServiceUnavailable("later"), wait: retryLater},
		{what: "an internal error", err: apierrors.NewInternalError(defect), wait: retryLater},
		{what: "a list that expired", err: apierrors.NewResourceExpired("too old"), wait: retrySoon},
		{what: "no route", err: &net.OpError{Op: "dial", Err: defect}, wait: retryLater},
		{what: "too late", err: fmt.Errorf("get: %w", context.DeadlineExceeded), wait: retryLater},
		{what: "cut off", err: io.ErrUnexpectedEOF, wait: retryLater},
		{what: "contended shards", err: membership.ErrContended, user: -1, wait: retrySoon},
		{what: "too many members", err: membership.ErrTooLarge, user: -1, group: 413},
		{what: "invalid", err: invalid(field.Invalid(field.NewPath("spec", "emails").Index(0), "secret value", "must be shorter")), user: 400, group: 400, says: "emails[0] must be shorter"},
		{what: "too long", err: invalid(field.TooLong(field.NewPath("spec", "title"), "", 1024)), user: 400, group: 400, says: "title may not be more than 1024 characters"},
		{what: "missing", err: invalid(field.Required(field.NewPath("spec", "userNameKey"), "")), user: 400, group: 400, says: "userName is required"},
		{what: "an odd rule", err: invalid(field.Invalid(field.NewPath("spec", "title"), "secret value", `"secret value"`)), user: 400, group: 400, says: "title is not valid"},
		{what: "invalid without a cause", err: invalid(), wait: retryRights, says: "admission refuses this write of user"},
		{what: "a defect", err: defect, user: -1, group: -1},
		{what: "refused before", err: protocol.InvalidValue("no"), user: 400, group: 400},
		{what: "trouble before", err: &UnavailableError{RetryAfter: 3 * time.Second, Cause: defect}, wait: 3 * time.Second},
	} {
		for as, want := range map[string]int{"user": c.user, "group": c.group} {
			seen := asClientSees(c.err)
			if as == "group" {
				seen = asGroupClientSees(c.err, "g")
			}
			var problem *protocol.Error
			var trouble *UnavailableError
			switch {
			case want < 0:
				if !errors.Is(seen, c.err) || errors.As(seen, &problem) || errors.As(seen, &trouble) {
					t.Errorf("%s of a %s is %v", c.what, as, seen)
				}
			case want > 0:
				if !errors.As(seen, &problem) || problem.Status != want || problem.Detail == "" || strings.Contains(problem.Detail, "secret") {
					t.Errorf("%s of a %s is %v, want %d", c.what, as, seen, want)
				} else if as == "user" && !strings.Contains(problem.Detail, c.says) {
					t.Errorf("%s: %s, want something about %s", c.what, problem.Detail, c.says)
				}
			default:
				if !errors.As(seen, &trouble) || trouble.RetryAfter != c.wait || !strings.Contains(trouble.Error(), "unavailable") {
					t.Errorf("%s of a %s is %v, want a wait of %s", c.what, as, seen, c.wait)
				} else if !strings.Contains(trouble.Detail, c.says) || (trouble.Detail == "") != (c.says == "") {
					t.Errorf("%s of a %s says %q, want something about %q", c.what, as, trouble.Detail, c.says)
				}
			}
		}
	}
	if err := asGroupClientSees(apierrors.NewNotFound(users, "g"), "g"); !strings.Contains(err.Error(), `"g"`) {
		t.Errorf("a group that is gone: %v", err)
	}
}
