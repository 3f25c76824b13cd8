package directory

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// refusal says that the cluster's own admission refused a write: a policy, a webhook or a quota that this project did not
// install. It is no fault of the client, whatever code the answer had. It hides that code: a webhook may deny with 404 or
// 409, which mean something else to the callers of a write.
type refusal struct {
	// by is what refused, such as `the webhook "x"`; empty where the answer does not tell.
	by string
	// what was refused, such as "users"; why it says so.
	what, why string
	cause     string
}

func (r *refusal) Error() string { return r.cause }

// detail is what a client is told.
func (r *refusal) detail() string {
	by, why := r.by, ""
	if by == "" {
		by = "admission"
	}
	if r.why != "" {
		why = ": " + r.why
	}
	return fmt.Sprintf("In the cluster, %s refuses this write of %s%s. The cluster's administrators must let it through. Try again.", by, r.what, strings.TrimSuffix(why, "."))
}

// refusers are how the API server's answers name what refused.
var refusers = []struct {
	text *regexp.Regexp
	kind string
}{
	{regexp.MustCompile(`(?s)admission webhook "([^"]+)" denied the request(?:: (.*))?`), "the webhook"},
	{regexp.MustCompile(`(?s)failed calling webhook "([^"]+)":? ?(.*)`), "the webhook"},
	{regexp.MustCompile(`(?s)[Pp]olicy ['"]([^'"]+)['"](?: with binding '[^']*')? denied request: (.*)`), "the admission policy"},
	{regexp.MustCompile(`(?s)(?:exceeded|failed) quota: ([^,:]+)[,:] (.*)`), "the ResourceQuota"},
}

// maxWhy bounds, in characters, what a client is told of a refusal's own text.
const maxWhy = 300

// refusalOf returns what an answer of the API server tells of a refusal by admission; nil where it is none.
func refusalOf(err error) *refusal {
	var known *refusal
	if errors.As(err, &known) {
		return known
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return nil
	}
	found := &refusal{what: "the directory", cause: err.Error()}
	if details := status.Status().Details; details != nil && details.Kind != "" {
		found.what = strings.ToLower(details.Kind)
	}
	message := status.Status().Message
	for _, refuser := range refusers {
		if match := refuser.text.FindStringSubmatch(message); match != nil {
			found.by, found.why = fmt.Sprintf("%s %q", refuser.kind, match[1]), shortened(match[2])
			return found
		}
	}
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		found.why = "the namespace is being deleted"
		return found
	case apierrors.IsInvalid(err) && !isValidation(status.Status().Details), apierrors.IsForbidden(err) && !isAuthorizer(message):
		found.why = shortened(message)
		return found
	}
	return nil
}

// isValidation says whether causes are those of the schema of a CustomResourceDefinition: each tells a field, and what is wrong
// with it.
func isValidation(details *metav1.StatusDetails) bool {
	if details == nil || len(details.Causes) == 0 {
		return false
	}
	for _, cause := range details.Causes {
		if cause.Field == "" || !strings.HasPrefix(string(cause.Type), "FieldValue") {
			return false
		}
	}
	return true
}

// isAuthorizer says whether the API server's authorizer refused, and not admission.
func isAuthorizer(message string) bool {
	return strings.Contains(message, `User "`) && strings.Contains(message, " cannot ")
}

func shortened(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxWhy {
		return string(runes[:maxWhy-1]) + "…"
	}
	return text
}

// admitted is a client with writes that return a *refusal where admission refused them.
type admitted struct{ client.Client }

func (c admitted) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	return orRefusal(c.Client.Create(ctx, object, options...))
}

func (c admitted) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	return orRefusal(c.Client.Update(ctx, object, options...))
}

func (c admitted) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	return orRefusal(c.Client.Patch(ctx, object, patch, options...))
}

func (c admitted) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	return orRefusal(c.Client.Delete(ctx, object, options...))
}

func orRefusal(err error) error {
	if refused := refusalOf(err); refused != nil {
		return refused
	}
	return err
}
