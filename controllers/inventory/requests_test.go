package inventory

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func at(minute int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC))
}

func TestLastContact(t *testing.T) {
	status := &v1alpha1.OAuthGrantStatus{}
	if got := status.LastContact(); got != nil {
		t.Errorf("a client that never asked: %v", got)
	}
	status.Code = &v1alpha1.OAuthCode{}
	if got := status.LastContact(); got != nil {
		t.Errorf("a code that was not used: %v", got)
	}
	for _, step := range []struct {
		change func()
		want   int
	}{
		{func() { status.Code.UsedAt = new(at(1)) }, 1},
		{func() { status.Refresh = &v1alpha1.OAuthRefresh{IssuedAt: at(5)} }, 5},
		{func() { status.Access = &v1alpha1.OAuthAccess{RequestedAt: at(3)} }, 5},
		{func() { status.Access.RequestedAt = at(9) }, 9},
	} {
		step.change()
		if got, want := status.LastContact(), at(step.want); got == nil || !got.Equal(&want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// The latest request counts, whichever credential opened the App, and none of another App.
func TestRequestsKeepTheLatest(t *testing.T) {
	last := requests{}
	by := func(text string) func() string { return func() string { return text } }
	last.note("idp", "okta", nil, by("never used"))
	if len(last) != 0 {
		t.Errorf("an App without requests has %v", last)
	}
	last.note("idp", "okta", new(at(2)), by("token"))
	last.note("idp", "okta", new(at(7)), by("issuer"))
	last.note("idp", "okta", new(at(5)), by("client"))
	last.note("idp", "okta", nil, by("never used"))
	last.note("idp", "entra", new(at(1)), by("other"))
	if got := last[types.NamespacedName{Namespace: "idp", Name: "okta"}]; got.By != "issuer" || !got.At.Time.Equal(at(7).Time) {
		t.Errorf("okta: %+v", got)
	}
	if got := last[types.NamespacedName{Namespace: "idp", Name: "entra"}]; got.By != "other" || len(last) != 2 {
		t.Errorf("entra: %+v of %v", got, last)
	}
}
