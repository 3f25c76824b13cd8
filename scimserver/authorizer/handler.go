package authorizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/scim-operator/scim-operator/internal/telemetry"
)

// maxBody bounds a review: an API server's own are of a few KiB, many groups included.
const maxBody = 256 << 10

var (
	requests = telemetry.Counter(telemetry.Server, "authorizer_requests_total",
		"Reviews answered by the authorization webhook by decision: denied, no_opinion or error.", "decision")
	latency = telemetry.Histogram(telemetry.Server, "authorizer_duration_seconds",
		"How long the authorization webhook took to answer.",
		prometheus.ExponentialBuckets(0.00001, 4, 8)).WithLabelValues() // 10 µs to 164 ms
)

// ServeHTTP answers one SubjectAccessReview of authorization.k8s.io/v1. What is none of them is answered 400 or, by its
// method, type or size, 405, 415 or 413: the API server then goes by its failurePolicy.
func (a *Authorizer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	decision, status, err := a.review(w, r)
	if err != nil {
		decision = "error"
		http.Error(w, err.Error(), status)
	}
	requests.WithLabelValues(decision).Inc()
	latency.Observe(time.Since(begin).Seconds())
}

func (a *Authorizer) review(w http.ResponseWriter, r *http.Request) (decision string, status int, err error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return "", http.StatusMethodNotAllowed, errors.New("a SubjectAccessReview must be posted")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return "", http.StatusUnsupportedMediaType, errors.New("a SubjectAccessReview must be application/json")
	}
	if err := a.Ready(); err != nil {
		return "", http.StatusServiceUnavailable, err
	}
	review := &authorizationv1.SubjectAccessReview{}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(review); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return "", http.StatusRequestEntityTooLarge, fmt.Errorf("the review is larger than %d bytes", maxBody)
		}
		return "", http.StatusBadRequest, errors.New("the body is no JSON object of a SubjectAccessReview")
	}
	if kind := review.GroupVersionKind(); kind != authorizationv1.SchemeGroupVersion.WithKind("SubjectAccessReview") {
		return "", http.StatusBadRequest, fmt.Errorf("the body is a %s %s, and not an %s SubjectAccessReview", kind.GroupVersion(), kind.Kind, authorizationv1.SchemeGroupVersion)
	}
	if (review.Spec.ResourceAttributes == nil) == (review.Spec.NonResourceAttributes == nil) {
		return "", http.StatusBadRequest, errors.New("exactly one of spec.resourceAttributes and spec.nonResourceAttributes must be set")
	}
	answer := &authorizationv1.SubjectAccessReview{TypeMeta: review.TypeMeta}
	decision = "no_opinion"
	if a.Denied(review.Spec.User, review.Spec.Groups) {
		decision = "denied"
		answer.Status = authorizationv1.SubjectAccessReviewStatus{
			Denied: true, Reason: "the access of " + review.Spec.User + " was revoked by the identity provider, or has ended (scim-operator)",
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if json.NewEncoder(w).Encode(answer) != nil {
		decision = "error" // the API server hung up
	}
	return decision, 0, nil
}
