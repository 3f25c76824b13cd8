package scimtoken

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// defaultKey of a Secret's data.
const defaultKey = "token"

// tokenState is which digests a token stands for.
type tokenState struct {
	digest string
	// secretName of a generated token's newest Secret.
	secretName string
	// rotation is nil for a token without one.
	rotation *v1alpha1.TokenRotationStatus
	// retired are Secrets of tokens that are refused from now on.
	retired []*corev1.Secret
	// trouble says why the next token could not be made; retryAfter is when to try again.
	trouble    string
	retryAfter time.Duration
}

// former returns the token that is being replaced, or nil.
func (s *tokenState) former() *v1alpha1.FormerToken {
	if s.rotation == nil {
		return nil
	}
	return s.rotation.Former
}

// stateOf returns the digests of a token, or the verdict on one that has none.
func (r *Reconciler) stateOf(ctx context.Context, object *v1alpha1.ScimToken, now time.Time) (tokenState, *verdict, error) {
	spec := &object.Spec
	switch {
	case spec.SecretRef != nil:
		key := spec.SecretRef.Key
		if key == "" {
			key = defaultKey
		}
		digest, problem, err := r.digestFromSecret(ctx, object, spec.SecretRef.Name, key)
		return tokenState{digest: digest}, problem, err
	case spec.Generate != nil:
		return r.stateOfGenerated(ctx, object, now)
	case token.IsDigest(spec.Digest):
		return tokenState{digest: spec.Digest}, nil, nil
	}
	problem := invalid(v1alpha1.ReasonInvalidToken, "spec.digest is not sha256: and 64 hexadecimal digits.")
	return tokenState{}, &problem, nil
}

func (r *Reconciler) digestFromSecret(ctx context.Context, object *v1alpha1.ScimToken, name, key string) (string, *verdict, error) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		problem := invalid(v1alpha1.ReasonSecretNotFound, fmt.Sprintf("The Secret %s does not exist, or lacks the label %s=true.", name, labelToken))
		return "", &problem, nil
	}
	if err != nil {
		return "", nil, err
	}
	digest, problem := digestOfValue(secret, key)
	return digest, problem, nil
}

// digestOfValue reads a token or its digest. White space around it is an editor's or a shell's, never a token's.
func digestOfValue(secret *corev1.Secret, key string) (string, *verdict) {
	value, found := secret.Data[key]
	if !found {
		problem := invalid(v1alpha1.ReasonInvalidToken, fmt.Sprintf("The Secret %s has no key %s.", secret.Name, key))
		return "", &problem
	}
	text := strings.TrimSpace(string(value))
	if token.IsDigest(text) {
		return text, nil
	}
	if len(text) < token.MinimumLength {
		problem := invalid(v1alpha1.ReasonInvalidToken,
			fmt.Sprintf("The key %s of the Secret %s holds fewer than %d characters: too few for a token.", key, secret.Name, token.MinimumLength))
		return "", &problem
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		problem := invalid(v1alpha1.ReasonInvalidToken,
			fmt.Sprintf("The key %s of the Secret %s holds characters that no HTTP header can carry.", key, secret.Name))
		return "", &problem
	}
	return token.Digest(text), nil
}

// wasMadeFor says whether a Secret was made for a ScimToken. Its owner tells. After a restore the owner is the former object
// of that name, or absent: then its labels and annotation tell.
func wasMadeFor(secret *corev1.Secret, object *v1alpha1.ScimToken) bool {
	if metav1.IsControlledBy(secret, object) {
		return true
	}
	owner := metav1.GetControllerOf(secret)
	return (owner == nil || owner.Kind == "ScimToken" && owner.Name == object.Name) &&
		secret.Labels[v1alpha1.LabelManagedBy] == v1alpha1.ManagedByValue &&
		secret.Labels[v1alpha1.LabelApp] == object.Spec.App && secret.Annotations[v1alpha1.AnnotationGeneratedFor] == object.Name
}
