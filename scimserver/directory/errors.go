package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// UnavailableError says that the request failed through no fault of its own, and that the same request can succeed later.
// Whether its change happened is open; asking again is safe.
type UnavailableError struct {
	// RetryAfter is how long to wait before the next attempt.
	RetryAfter time.Duration
	// Cause tells why.
	Cause error
	// Detail is what a client is told of it; empty where the API server is busy or away.
	Detail string
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the directory is unavailable: %v", e.Cause)
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// ErrBusy is the cause where others kept changing the same user.
var ErrBusy = errors.New("too many concurrent changes of one user")

const (
	retrySoon  = time.Second
	retryLater = 5 * time.Second
	// retryRights is for errors that an administrator must mend first.
	retryRights = 30 * time.Second

	detailReleasing = "The user with this name is being deleted, and keeps it until the controller has taken the access away: a moment, or as long as no controller runs " +
		"or a finalizer of others holds the User. Try again."
	detailGroupReleasing = "The group with this name is being deleted, and keeps it as long as a finalizer of others holds the Group. Try again."
	detailRights         = "The cluster refuses this server's requests. An administrator of the cluster must give it back its rights; its log tells which. Try again."
)

// asClientSees turns an error of the API server or of package claims into one that the HTTP server can answer.
// *protocol.Error and *UnavailableError stay as they are.
func asClientSees(err error) error {
	var problem *protocol.Error
	var unavailable *UnavailableError
	var taken *claims.TakenError
	switch {
	case err == nil, errors.As(err, &problem), errors.As(err, &unavailable):
		return err
	case refusalOf(err) != nil:
		return &UnavailableError{RetryAfter: retryRights, Cause: err, Detail: refusalOf(err).detail()}
	case errors.As(err, &taken):
		return errTaken(taken.Attribute)
	case errors.Is(err, claims.ErrReleasing):
		return &UnavailableError{RetryAfter: retrySoon, Cause: err, Detail: detailReleasing}
	case errors.Is(err, claims.ErrContended):
		return &UnavailableError{RetryAfter: retrySoon, Cause: err}
	case apierrors.IsResourceExpired(err): // a list of several pages that took too long
		return &UnavailableError{RetryAfter: retrySoon, Cause: err}
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return &UnavailableError{RetryAfter: retrySoon, Cause: ErrBusy}
	case apierrors.IsInvalid(err):
		return refused(err, "userName")
	case apierrors.IsRequestEntityTooLargeError(err):
		return errTooLarge()
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &UnavailableError{RetryAfter: retryRights, Cause: err, Detail: detailRights}
	}
	if delay, trouble := outage(err); trouble {
		return &UnavailableError{RetryAfter: delay, Cause: err}
	}
	return err
}

// outage says whether an error is the API server's or the network's trouble, and how long to wait.
func outage(err error) (time.Duration, bool) {
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok && seconds > 0 {
		return time.Duration(seconds) * time.Second, true
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return retryLater, code >= 500 || code == 429 || code == 408
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return retryLater, true
	}
	return 0, false
}

// asUserClientSees is asClientSees for a request about the user with the id.
func asUserClientSees(err error, id string) error {
	if id != "" && apierrors.IsNotFound(err) {
		return errNotFound(id)
	}
	return asClientSees(err)
}

func errNotFound(id string) error {
	return protocol.NotFound("There is no user with id %q in this App.", id)
}

// errTaken names the attribute of a name that another user has, and neither the name nor that user.
func errTaken(attribute string) error {
	switch attribute {
	case v1alpha1.ClaimEmail:
		return protocol.Uniqueness("Another user of this App has the address in emails already, by which the App tells users apart or makes their Kubernetes names.")
	case v1alpha1.ClaimExternalID:
		return protocol.Uniqueness("Another user of this App has this externalId already, by which the App tells users apart or makes their Kubernetes names.")
	}
	return protocol.Uniqueness("Another user of this App has this userName already. Names are compared without regard to case.")
}

func errExternalIDTaken() error {
	return protocol.Uniqueness("An active user of this App has this externalId already. An active user is never taken over: send another externalId, or deactivate or update the user that has it.")
}

func errExternalIDAmbiguous() error {
	return protocol.Uniqueness("Several inactive users of this App have this externalId, and none of them has this userName: which of them comes back cannot be told. Activate one of them by its id.")
}

func errTooLarge() error {
	return protocol.PayloadTooLarge("The user would be larger than the %d KiB that the directory keeps of one user.", maxSpecBytes>>10)
}

// refused names the attributes that the API server's validation refused, and why, without their values. naming is the
// attribute that the keys are made of.
func refused(err error, naming string) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return protocol.InvalidValue("A value is not valid.")
	}
	var reasons []string
	for _, cause := range status.Status().Details.Causes {
		field := strings.TrimPrefix(strings.TrimPrefix(cause.Field, "<nil>"), "spec.")
		if field == "userNameKey" || field == "displayNameKey" || field == "pendingKey" {
			field = naming
		}
		reason := field + " " + reasonOf(cause)
		if field != "" && len(reasons) < 10 {
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) == 0 {
		return protocol.InvalidValue("A value is not valid.")
	}
	return protocol.InvalidValue("%s.", strings.Join(reasons, "; "))
}

// reasonOf takes what the rule says out of a message of the form `Invalid value: "…": reason`.
func reasonOf(cause metav1.StatusCause) string {
	if cause.Type == metav1.CauseTypeFieldValueRequired {
		return "is required"
	}
	_, reason, _ := strings.Cut(cause.Message, ": ")
	if cut := strings.LastIndex(reason, ": "); cut >= 0 {
		reason = reason[cut+2:]
	}
	if reason == "" || strings.ContainsAny(reason[:1], "\"{[0123456789") {
		return "is not valid"
	}
	reason = strings.TrimSuffix(reason, ".")
	if cause.Type == metav1.CauseTypeTooLong {
		// A schema's maxLength counts characters, whatever the API server says.
		reason = strings.TrimSuffix(reason, " bytes") + " characters"
	}
	return reason
}
