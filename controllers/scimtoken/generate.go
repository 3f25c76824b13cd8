package scimtoken

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/internal/names"
	"github.com/scim-operator/scim-operator/internal/token"
)

// maxCause bounds what a condition has of an error's text, in bytes.
const maxCause = 512

// generated is one token that was made for a ScimToken, in the Secret that keeps it. Secrets are made and deleted, and never
// changed: what is known of a token is in its Secret alone, so that a restore or a lost status changes nothing.
type generated struct {
	secret *corev1.Secret
	// serial counts the tokens of the ScimToken from 1 on.
	serial int32
	made   time.Time
	// asked is what AnnotationRotateToken of the ScimToken was when it was made, as askedOf.
	asked string
}

// generatedFrom reads a Secret that was made for a ScimToken. A time in the future is none.
func generatedFrom(secret *corev1.Secret, now time.Time) generated {
	found := generated{secret: secret, serial: 1, made: secret.CreationTimestamp.Time, asked: secret.Annotations[v1alpha1.AnnotationRotateToken]}
	if serial, err := strconv.ParseInt(secret.Annotations[v1alpha1.AnnotationTokenSerial], 10, 32); err == nil && serial > 1 {
		found.serial = int32(serial)
	}
	if made, err := time.Parse(time.RFC3339, secret.Annotations[v1alpha1.AnnotationTokenMadeAt]); err == nil && !made.After(now) {
		found.made = made
	}
	return found
}

// stateOfGenerated returns the digests of a token that is made once, or anew at intervals. A newest Secret that was deleted is made
// anew, with another token; one that was not made for this ScimToken is left alone, and nothing is said of it.
func (r *Reconciler) stateOfGenerated(ctx context.Context, object *v1alpha1.ScimToken, now time.Time) (tokenState, *verdict, error) {
	if errs := validation.IsDNS1123Subdomain(object.Spec.Generate.SecretName); len(errs) > 0 {
		problem := invalid(v1alpha1.ReasonInvalidToken, "spec.generate.secretName cannot name a Secret: "+errs[0])
		return tokenState{}, &problem, nil
	}
	made, err := r.madeFor(ctx, object, now)
	if err != nil {
		return tokenState{}, nil, err
	}
	newest, problem, err := r.newest(ctx, object, made, now)
	if err != nil || problem != nil {
		return tokenState{}, problem, err
	}
	state := tokenState{}
	if isRotationDue(object, newest, now) {
		next, problem, err := r.make(ctx, object, newest.serial+1, now)
		switch {
		case err != nil:
			return tokenState{}, nil, err
		case problem != nil: // the one that works goes on working
			state.trouble, state.retryAfter = problem.message, refusedDelay
		default:
			made = append(made, newest)
			newest = next
		}
	}
	if state.digest, problem = digestOfValue(newest.secret, defaultKey); problem != nil {
		return tokenState{}, problem, nil
	}
	state.secretName = newest.secret.Name
	state.rotate(object, newest, made, now)
	return state, nil, nil
}

// isRotationDue says whether the next token is to be made. None is made for a ScimToken that opens nothing.
func isRotationDue(object *v1alpha1.ScimToken, newest generated, now time.Time) bool {
	rotation, expiresAt := object.Spec.Rotation, object.Spec.ExpiresAt
	return rotation != nil && !object.Spec.Suspended && (expiresAt == nil || now.Before(expiresAt.Time)) &&
		(!now.Before(newest.made.Add(rotation.Every.Duration)) || isRotationAsked(object, newest, now))
}

// isRotationAsked says whether AnnotationRotateToken asks for the next token. Until the overlap with the former one is over, the
// client may still use that one, and a third would end it.
func isRotationAsked(object *v1alpha1.ScimToken, newest generated, now time.Time) bool {
	asked := askedOf(object)
	return asked != "" && asked != newest.asked &&
		(newest.serial == 1 || !now.Before(newest.made.Add(object.Spec.Rotation.Overlap.Duration)))
}

// askedOf stands for the value of AnnotationRotateToken, in a few characters; "" for none.
func askedOf(object *v1alpha1.ScimToken) string {
	value := object.Annotations[v1alpha1.AnnotationRotateToken]
	if value == "" {
		return ""
	}
	return names.Hash(value)[:16]
}

// rotate says which former token is accepted, and which Secrets are not needed any more.
func (s *tokenState) rotate(object *v1alpha1.ScimToken, newest generated, made []generated, now time.Time) {
	rotation := object.Spec.Rotation
	if rotation == nil {
		return
	}
	next := metav1.NewTime(newest.made.Add(rotation.Every.Duration).UTC().Truncate(time.Second))
	s.rotation = &v1alpha1.TokenRotationStatus{
		SecretName: newest.secret.Name, Serial: newest.serial, MadeTime: metav1.NewTime(newest.made.UTC().Truncate(time.Second)), NextTime: &next,
	}
	until := newest.made.Add(rotation.Overlap.Duration)
	for _, each := range made {
		switch {
		case each.serial >= newest.serial:
		case each.serial == newest.serial-1 && now.Before(until):
			if digest, problem := digestOfValue(each.secret, defaultKey); problem == nil && digest != s.digest {
				s.rotation.Former = &v1alpha1.FormerToken{
					SecretName: each.secret.Name, Digest: digest, TokenID: token.ID(digest), Until: metav1.NewTime(until.UTC().Truncate(time.Second)),
				}
			}
		default:
			s.retired = append(s.retired, each.secret)
		}
	}
}

// madeFor returns the tokens that were made for a ScimToken and are in the informer, by serial.
func (r *Reconciler) madeFor(ctx context.Context, object *v1alpha1.ScimToken, now time.Time) ([]generated, error) {
	var list corev1.SecretList
	err := r.Client.List(ctx, &list, client.InNamespace(object.Namespace), client.MatchingLabels{v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue})
	if err != nil {
		return nil, err
	}
	var made []generated
	for i := range list.Items {
		if secret := &list.Items[i]; isNamedFor(secret.Name, object) && wasMadeFor(secret, object) {
			made = append(made, generatedFrom(secret, now))
		}
	}
	slices.SortFunc(made, func(a, b generated) int { return cmp.Compare(a.serial, b.serial) })
	return made, nil
}

// newest returns the newest token, and makes the first one. The informer may be behind this controller's own writing, which the status
// knows, and shows labelled Secrets only.
func (r *Reconciler) newest(ctx context.Context, object *v1alpha1.ScimToken, made []generated, now time.Time) (generated, *verdict, error) {
	last := object.Status.Rotation
	if last != nil && !isNamedFor(last.SecretName, object) {
		last = nil // of another spec.generate.secretName
	}
	if n := len(made); n > 0 && (last == nil || made[n-1].serial >= last.Serial) {
		return made[n-1], nil, nil
	}
	if last == nil {
		return r.make(ctx, object, 1, now)
	}
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: last.SecretName}, secret)
	switch {
	case err == nil && wasMadeFor(secret, object):
		return generatedFrom(secret, now), nil, nil
	case err != nil && !apierrors.IsNotFound(err):
		return generated{}, nil, err
	}
	return r.make(ctx, object, last.Serial+1, now)
}

// make writes a new token into a Secret, or returns the one that was written under this serial.
func (r *Reconciler) make(ctx context.Context, object *v1alpha1.ScimToken, serial int32, now time.Time) (generated, *verdict, error) {
	name := secretNameOf(object, serial)
	secret, err := r.generate(ctx, object, name, serial, now)
	if err == nil {
		r.Recorder.Eventf(object, nil, corev1.EventTypeNormal, v1alpha1.ReasonGenerated, "Generate", "%s", "A token was made. "+howToRead(object.Namespace, name))
	}
	if apierrors.IsAlreadyExists(err) {
		secret = &corev1.Secret{}
		err = r.Live.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, secret)
	}
	switch {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		problem := invalid(v1alpha1.ReasonSecretNotMade, "The API server refuses to have the Secret made: "+clip.Text(err.Error(), maxCause))
		problem.retryAfter = refusedDelay
		return generated{}, &problem, nil
	case err != nil:
		return generated{}, nil, err
	case !wasMadeFor(secret, object):
		problem := invalid(v1alpha1.ReasonSecretNotMade, "No Secret can be made under spec.generate.secretName: choose another name.")
		return generated{}, &problem, nil
	}
	return generatedFrom(secret, now), nil, nil
}

// secretNameOf returns the name of the Secret of a serial. All but the first end in a hash over the ScimToken's UID, so that an author
// cannot choose them, and learn from the status which Secrets exist.
func secretNameOf(object *v1alpha1.ScimToken, serial int32) string {
	if serial == 1 {
		return object.Spec.Generate.SecretName
	}
	return object.Spec.Generate.SecretName + "-" + names.Hash(string(object.UID), strconv.Itoa(int(serial)))[:10]
}

// isNamedFor says whether a Secret has a name as secretNameOf makes it.
func isNamedFor(name string, object *v1alpha1.ScimToken) bool {
	first := object.Spec.Generate.SecretName
	return name == first || len(name) == len(first)+11 && strings.HasPrefix(name, first+"-")
}

// howToRead says how an administrator reads a generated token.
func howToRead(namespace, secret string) string {
	return fmt.Sprintf("Read it with: kubectl -n %s get secret %s -o jsonpath='{.data.token}' | base64 -d", namespace, secret)
}

func (r *Reconciler) generate(ctx context.Context, object *v1alpha1.ScimToken, name string, serial int32, now time.Time) (*corev1.Secret, error) {
	text, err := token.New()
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{
		v1alpha1.AnnotationGeneratedFor: object.Name,
		v1alpha1.AnnotationTokenSerial:  strconv.Itoa(int(serial)),
		v1alpha1.AnnotationTokenMadeAt:  now.UTC().Format(time.RFC3339),
	}
	if asked := askedOf(object); asked != "" {
		annotations[v1alpha1.AnnotationRotateToken] = asked
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: object.Namespace,
			Name:      name,
			Labels: map[string]string{
				labelToken:              "true",
				v1alpha1.LabelManagedBy: v1alpha1.ManagedByValue,
				v1alpha1.LabelApp:       object.Spec.App,
			},
			Annotations:     annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(object, v1alpha1.GroupVersion.WithKind("ScimToken"))},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{defaultKey: []byte(text)},
	}
	return secret, r.Client.Create(ctx, secret)
}

// deleteRetired deletes the Secrets of tokens that are refused, after the status that says so.
func (r *Reconciler) deleteRetired(ctx context.Context, retired []*corev1.Secret) {
	for _, secret := range retired {
		err := r.Client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			logf.FromContext(ctx).Error(err, "A Secret of a token that was replaced is left", "secret", secret.Name)
		}
	}
}
