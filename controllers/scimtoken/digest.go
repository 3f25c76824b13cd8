package scimtoken

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// defaultKey of a Secret's data.
const defaultKey = "token"

// digestOf returns the digest of a token, or the verdict on one that has none.
func (r *Reconciler) digestOf(ctx context.Context, object *v1alpha1.ScimToken) (string, *verdict, error) {
	spec := &object.Spec
	switch {
	case spec.SecretRef != nil:
		key := spec.SecretRef.Key
		if key == "" {
			key = defaultKey
		}
		return r.digestFromSecret(ctx, object, spec.SecretRef.Name, key)
	case spec.Generate != nil:
		return r.digestOfGenerated(ctx, object)
	case token.IsDigest(spec.Digest):
		return spec.Digest, nil, nil
	}
	problem := invalid(v1alpha1.ReasonInvalidToken, "spec.digest is not sha256: and 64 hexadecimal digits.")
	return "", &problem, nil
}

func (r *Reconciler) digestFromSecret(ctx context.Context, object *v1alpha1.ScimToken, name, key string) (string, *verdict, error) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		problem := invalid(v1alpha1.ReasonSecretNotFound, fmt.Sprintf("The Secret %s does not exist, or lacks the label %s=true.", name, LabelToken))
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

// digestOfGenerated returns the digest of a token that is made once and kept in a Secret. A Secret that was deleted is made
// anew, with another token; one that was not made for this ScimToken is left alone, and nothing is said of it.
func (r *Reconciler) digestOfGenerated(ctx context.Context, object *v1alpha1.ScimToken) (string, *verdict, error) {
	name := object.Spec.Generate.SecretName
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		problem := invalid(v1alpha1.ReasonInvalidToken, "spec.generate.secretName cannot name a Secret: "+errs[0])
		return "", &problem, nil
	}
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		// The informer shows labelled Secrets only, and may be behind this controller's own writing.
		if secret, err = r.generate(ctx, object, name); err == nil {
			r.Recorder.Eventf(object, nil, corev1.EventTypeNormal, v1alpha1.ReasonGenerated, "Generate", "%s", "A token was made. "+howToRead(object.Namespace, name))
		}
		if apierrors.IsAlreadyExists(err) {
			secret = &corev1.Secret{}
			err = r.Live.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, secret)
		}
	}
	switch {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		problem := invalid(v1alpha1.ReasonSecretNotMade, "The API server refuses to have the Secret made: "+messageOf(err))
		problem.retryAfter = refusedDelay
		return "", &problem, nil
	case err != nil:
		return "", nil, err
	case !wasMadeFor(secret, object):
		problem := invalid(v1alpha1.ReasonSecretNotMade, "No Secret can be made under spec.generate.secretName: choose another name.")
		return "", &problem, nil
	}
	digest, problem := digestOfValue(secret, defaultKey)
	return digest, problem, nil
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

// howToRead says how an administrator reads a generated token.
func howToRead(namespace, secret string) string {
	return fmt.Sprintf("Read it with: kubectl -n %s get secret %s -o jsonpath='{.data.token}' | base64 -d", namespace, secret)
}

// messageOf returns what the API server says in an error, shortened: a condition holds it.
func messageOf(err error) string {
	const limit = 512
	text := []rune(err.Error())
	return string(text[:min(len(text), limit)])
}

func (r *Reconciler) generate(ctx context.Context, object *v1alpha1.ScimToken, name string) (*corev1.Secret, error) {
	text, err := token.New()
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: object.Namespace,
			Name:      name,
			Labels: map[string]string{
				LabelToken:              "true",
				v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue,
				v1alpha1.LabelApp:       object.Spec.App,
			},
			Annotations:     map[string]string{v1alpha1.AnnotationGeneratedFor: object.Name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(object, v1alpha1.GroupVersion.WithKind("ScimToken"))},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{defaultKey: []byte(text)},
	}
	return secret, r.Client.Create(ctx, secret)
}
