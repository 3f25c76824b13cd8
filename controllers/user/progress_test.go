package user

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// What an App's status says of a failure names no person.
func TestWithoutPerson(t *testing.T) {
	user := &v1alpha1.User{Spec: v1alpha1.UserSpec{UserName: "jane@example.com", ExternalID: "00u1"}}
	user.Name, user.Status.KubernetesUsername = "jane-abc", "okta:jane@example.com"
	resource := v1alpha1.Resource("users")
	for want, err := range map[string]error{
		"the API server answered Conflict (users)": fmt.Errorf("write: %w", apierrors.NewConflict(resource, "jane-abc", errors.New("jane@example.com"))),
		"it took too long":                         fmt.Errorf("wait for jane: %w", context.DeadlineExceeded),
		"the controller was stopped":               context.Canceled,
		"cannot bind … (00u1 is …) as …":           errors.New("cannot bind jane-abc (00u1 is jane@example.com) as okta:jane@example.com"),
	} {
		got := withoutPerson(err, user)
		if strings.Contains(got, "jane") || strings.Contains(got, "00u1") {
			t.Errorf("%q names the person", got)
		}
		if !strings.HasPrefix(want, "cannot") && got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
