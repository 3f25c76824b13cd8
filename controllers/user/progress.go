package user

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/controllers/app"
	"github.com/scim-operator/scim-operator/controllers/approlebinding"
	"github.com/scim-operator/scim-operator/internal/access"
)

// recordFailure keeps why a person could not be evaluated, or bound, for the App's status.
func (e report) recordFailure(err error) {
	if err != nil && e.app != nil {
		e.Progress.Failed(e.appName(), withoutPerson(err, e.user))
	}
}

// recordExpressions keeps for the App's status whether an expression had no result for the user.
func (e report) recordExpressions(decision *access.Decision) {
	var failure app.ExpressionFailure
	if problem, failed := decision.ExpressionProblem(); failed {
		failure = app.ExpressionFailure{Role: problem.Role, TooExpensive: problem.Reason == access.ReasonExpressionTooExpensive}
	}
	e.Progress.Expressions(e.appName(), e.name.Name, failure)
}

// withoutPerson tells of an error what an App's status may say: nothing about a person. An error of the API server names
// objects, and quotes values; its reason and its kind are enough to find it in the log.
func withoutPerson(err error, user *v1alpha1.User) string {
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status) && approlebinding.FailureReason(err) != v1alpha1.ReasonForbidden:
		kind := ""
		if details := status.Status().Details; details != nil {
			kind = details.Kind
		}
		return fmt.Sprintf("the API server answered %s (%s)", apierrors.ReasonForError(err), kind)
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	case errors.Is(err, context.Canceled):
		return "the controller was stopped"
	}
	text := err.Error()
	for _, personal := range []string{user.Status.KubernetesUsername, user.Name, user.Spec.UserName, user.Spec.ExternalID} {
		if personal != "" {
			text = strings.ReplaceAll(text, personal, "…")
		}
	}
	return text
}
