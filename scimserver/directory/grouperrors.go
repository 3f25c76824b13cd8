package directory

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/claims"
	"github.com/scim-operator/scim-operator/internal/membership"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// asGroupClientSees is asClientSees for a change of the group with the id.
func asGroupClientSees(err error, id string) error {
	var problem *protocol.Error
	var unavailable *UnavailableError
	var taken *claims.TakenError
	switch {
	case err == nil, errors.As(err, &problem), errors.As(err, &unavailable):
		return err
	case refusalOf(err) != nil:
		return asClientSees(err)
	case errors.As(err, &taken):
		return errGroupTaken()
	case errors.Is(err, claims.ErrReleasing):
		return &UnavailableError{RetryAfter: retrySoon, Cause: err, Detail: detailGroupReleasing}
	case errors.Is(err, membership.ErrContended):
		return &UnavailableError{RetryAfter: retrySoon, Cause: err}
	case apierrors.IsConflict(err):
		return &UnavailableError{RetryAfter: retrySoon, Cause: membership.ErrContended}
	case errors.Is(err, membership.ErrTooLarge), apierrors.IsRequestEntityTooLargeError(err):
		return protocol.PayloadTooLarge("The group would have more members, or more of other attributes, than the directory keeps of one group.")
	case apierrors.IsNotFound(err) && id != "":
		return errGroupNotFound(id)
	case apierrors.IsInvalid(err):
		return refused(err, "displayName")
	}
	return asClientSees(err)
}

func orGroupTaken(err error) error {
	if err != nil {
		return asGroupClientSees(err, "")
	}
	return errGroupTaken()
}

// lostName says of an error of claims.Create that the group is gone again.
func lostName(err error) bool {
	var taken *claims.TakenError
	return errors.As(err, &taken) || errors.Is(err, claims.ErrReleasing) || errors.Is(err, claims.ErrContended)
}

func errGroupNotFound(id string) error {
	return protocol.NotFound("There is no group with id %q in this App.", id)
}

func errGroupTaken() error {
	return protocol.Uniqueness("Another group of this App has this displayName already. Names are compared without regard to case.")
}

// checkGroupSize refuses attributes that would grow past what a Group may have beside its members.
func checkGroupSize(spec, before *v1alpha1.GroupSpec) error {
	if tooLarge, err := outgrows(maxGroupBytes, spec, before, groupsOwn); err != nil || !tooLarge {
		return err
	}
	return protocol.PayloadTooLarge("The group, members apart, would be larger than the %d KiB that the directory keeps of one group.", maxGroupBytes>>10)
}

// maxGroupBytes bounds what is kept of a group beside its members, as JSON. 500 of those have 128 KiB at most.
const maxGroupBytes = 64 << 10

// groupsOwn leaves out the members, and what every change writes.
func groupsOwn(spec v1alpha1.GroupSpec) any {
	spec.Members, spec.LastModified, spec.LastRequests = nil, nil, nil
	return &spec
}
