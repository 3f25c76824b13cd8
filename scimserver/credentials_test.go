package scimserver

import (
	"errors"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/token"
	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func TestBearerToken(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc":              "abc",
		"bearer abc":              "abc",
		"abc":                     "abc",
		"Bearer Bearer abc":       "abc",
		"  Bearer   bearer  abc ": "abc",
		"":                        "",
		"Bearer":                  "",
		"Bearer ":                 "",
		"Basic dXNlcjpwYXNz":      "",
		"Bearer a b":              "",
	} {
		if got := bearerToken(header); got != want {
			t.Errorf("bearerToken(%q) = %q, want %q", header, got, want)
		}
	}
}

func scimToken(name, app, secret string, change func(*v1alpha1.ScimToken)) *v1alpha1.ScimToken {
	t := &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: name},
		Spec:       v1alpha1.ScimTokenSpec{App: app, Digest: token.Digest(secret)},
		Status:     v1alpha1.ScimTokenStatus{Digest: token.Digest(secret)},
	}
	if change != nil {
		change(t)
	}
	return t
}

func TestAuthenticate(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(d)} }
	tokens := []*v1alpha1.ScimToken{
		scimToken("plain", "one", "plain", nil),
		scimToken("rotated", "one", "rotated", nil),
		scimToken("suspended", "one", "suspended", func(t *v1alpha1.ScimToken) { t.Spec.Suspended = true }),
		scimToken("expired", "one", "expired", func(t *v1alpha1.ScimToken) { t.Spec.ExpiresAt = at(0) }),
		scimToken("expiring", "one", "expiring", func(t *v1alpha1.ScimToken) { t.Spec.ExpiresAt = at(time.Second) }),
		scimToken("early", "one", "early", func(t *v1alpha1.ScimToken) { t.Spec.NotBefore = at(time.Second) }),
		scimToken("due", "one", "due", func(t *v1alpha1.ScimToken) { t.Spec.NotBefore = at(0) }),
		scimToken("deleting", "one", "deleting", func(t *v1alpha1.ScimToken) { t.DeletionTimestamp = at(0) }),
		scimToken("withdrawn", "one", "withdrawn", func(t *v1alpha1.ScimToken) { t.Status.Digest = "" }),
		scimToken("changed", "one", "changed", func(t *v1alpha1.ScimToken) { t.Spec.Digest = token.Digest("other") }),
		scimToken("shared-1", "one", "shared", nil),
		scimToken("shared-2", "two", "shared", nil),
		scimToken("twice-1", "one", "twice", nil),
		scimToken("twice-2", "one", "twice", nil),
	}
	held := newCredentials()
	held.now = func() time.Time { return noon }
	for _, each := range tokens {
		held.replace(nil, each)
	}
	for presented, want := range map[string]error{
		"plain": nil, "rotated": nil, "expiring": nil, "due": nil, "twice": nil,
		"": errNoCredentials, "suspended": errBadCredentials, "expired": errBadCredentials, "early": errBadCredentials,
		"deleting": errBadCredentials, "withdrawn": errBadCredentials, "changed": errBadCredentials, "other": errBadCredentials,
		"shared": errBadCredentials, "unknown": errBadCredentials, token.Digest("plain"): errBadCredentials,
	} {
		request, err := http.NewRequest(http.MethodGet, "/Users", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+presented)
		opened, err := held.authenticate(request)
		if !errors.Is(err, want) {
			t.Errorf("token %q: %v, want %v", presented, err, want)
			continue
		}
		if want == nil && opened.app != (types.NamespacedName{Namespace: "directory", Name: "one"}) {
			t.Errorf("token %q opens %v", presented, opened.app)
		}
	}

	held.replace(tokens[0], nil)
	request, _ := http.NewRequest(http.MethodGet, "/Users", nil)
	request.Header.Set("Authorization", "plain")
	if _, err := held.authenticate(request); !errors.Is(err, errBadCredentials) {
		t.Errorf("a deleted token is still accepted: %v", err)
	}
}
