package okta_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// rotated is a ScimToken with a rotation, as a GitOps tool applies it again and again.
type rotated struct {
	*testing.T
	app     harness.App
	servers []*localoperator.Process
	object  *v1alpha1.ScimToken
}

// apply applies the manifest as Flux and Argo CD do: server-side, every field by one manager.
func (r *rotated) apply(manager string) {
	r.Helper()
	manifest := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "ScimToken",
		"metadata": map[string]any{"namespace": r.app.Namespace, "name": "rotated"},
		"spec": map[string]any{
			"app": r.app.Name, "generate": map[string]any{"secretName": "rotated"},
			"rotation": map[string]any{"every": "1h", "overlap": "10m"},
		},
	}}
	must(r.T, operator.Env.Client.Apply(r.Context(), client.ApplyConfigurationFromUnstructured(manifest), client.FieldOwner(manager), client.ForceOwnership))
}

// settled waits until the newest token has this serial, and a former one is accepted or not.
func (r *rotated) settled(serial int32, former bool) *v1alpha1.TokenRotationStatus {
	r.Helper()
	soon(r.T, fmt.Sprintf("token %d", serial), func(ctx context.Context) error {
		if err := operator.Env.Client.Get(ctx, client.ObjectKey{Namespace: r.app.Namespace, Name: "rotated"}, r.object); err != nil {
			return err
		}
		status := r.object.Status.Rotation
		if status == nil || status.Serial != serial || (status.Former != nil) != former ||
			meta.IsStatusConditionTrue(r.object.Status.Conditions, v1alpha1.ConditionRotating) != former {
			return fmt.Errorf("status %+v", r.object.Status)
		}
		return nil
	})
	return r.object.Status.Rotation
}

func (r *rotated) secret(name string) *corev1.Secret {
	r.Helper()
	secret := &corev1.Secret{}
	must(r.T, operator.Env.Client.Get(r.Context(), client.ObjectKey{Namespace: r.app.Namespace, Name: name}, secret))
	return secret
}

// age has a token be that old.
func (r *rotated) age(name string, age time.Duration) {
	r.Helper()
	secret := r.secret(name)
	before := secret.DeepCopy()
	secret.Annotations[v1alpha1.AnnotationTokenMadeAt] = time.Now().Add(-age).UTC().Format(time.RFC3339)
	must(r.T, operator.Env.Client.Patch(r.Context(), secret, client.MergeFrom(before)))
}

// opens says on every replica whether the token in this Secret's text opens the App.
func (r *rotated) opens(text string, want int) {
	r.Helper()
	app := r.app
	app.Token = text
	for i, server := range r.servers {
		scim := operator.Client(server, "/scim/v2", app, okta.AppWizard)
		soon(r.T, fmt.Sprintf("%d of replica %d", want, i+1), func(ctx context.Context) error {
			answer, err := scim.Do(ctx, http.MethodGet, "/Users?startIndex=1&count=2", nil)
			if err == nil && answer.Status != want {
				err = fmt.Errorf("answered %d", answer.Status)
			}
			return err
		})
	}
}

// A token is replaced while Okta works: both are accepted for a while, on every replica, and a GitOps tool that applies, prunes
// and applies again sees no difference and makes no outage.
func TestRotation(t *testing.T) {
	_, app := ownApp(t, okta.AppWizard)
	second, err := operator.RunServer(t.Context(), "")
	must(t, err)
	harness.StopAtEnd(t, second)
	r := &rotated{T: t, app: app, servers: []*localoperator.Process{operator.Server, second}, object: &v1alpha1.ScimToken{}}
	r.apply("kustomize-controller")
	must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: "rotated"}, r.object))
	must(t, operator.Env.AcceptToken(t.Context(), r.object))
	first := string(r.secret(r.settled(1, false).SecretName).Data["token"])
	r.opens(first, http.StatusOK)
	generation := r.object.Generation

	r.age("rotated", 61*time.Minute)
	status := r.settled(2, true)
	next := string(r.secret(status.SecretName).Data["token"])
	if next == first || status.Former.SecretName != "rotated" || status.Former.Until.Sub(status.MadeTime.Time) != 10*time.Minute {
		t.Errorf("status %+v, former %+v", status, status.Former)
	}
	r.opens(first, http.StatusOK)
	r.opens(next, http.StatusOK)
	// What Git says is not touched, and what the controller says stays.
	before := r.object.DeepCopy()
	r.apply("kustomize-controller")
	r.apply("argocd-controller")
	r.settled(2, true)
	if r.object.Generation != generation {
		t.Errorf("the specification changed: generation %d", r.object.Generation)
	}
	for _, fields := range r.object.ManagedFields {
		if fields.Subresource == "" && fields.Manager != "kustomize-controller" && fields.Manager != "argocd-controller" {
			t.Errorf("the rotation wrote what Git owns: %+v", fields)
		}
	}
	if r.object.Status.Digest != before.Status.Digest {
		t.Error("an apply changed the token")
	}

	t.Run("the end of the overlap", func(t *testing.T) {
		r := r.with(t)
		r.age(status.SecretName, 11*time.Minute)
		r.settled(2, false)
		r.opens(next, http.StatusOK)
		r.opens(first, http.StatusUnauthorized)
		soon(t, "the end of the former Secret", func(ctx context.Context) error {
			err := operator.Env.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: "rotated"}, &corev1.Secret{})
			if !apierrors.IsNotFound(err) {
				return errors.Join(errors.New("it is there"), err)
			}
			return nil
		})
	})
	t.Run("pruned and applied again", func(t *testing.T) {
		r := r.with(t)
		must(t, operator.Env.Client.Delete(t.Context(), r.object))
		r.opens(next, http.StatusUnauthorized)
		r.apply("kustomize-controller")
		r.settled(2, false) // the Secret is there until it is collected as garbage
		r.opens(next, http.StatusOK)
	})
	t.Run("the newest Secret is deleted", func(t *testing.T) {
		r := r.with(t)
		must(t, operator.Env.Client.Delete(t.Context(), r.secret(status.SecretName)))
		third := string(r.secret(r.settled(3, false).SecretName).Data["token"])
		r.opens(third, http.StatusOK)
		r.opens(next, http.StatusUnauthorized)
		r.opens(first, http.StatusUnauthorized)
	})
}

// with returns the same token for a subtest.
func (r *rotated) with(t *testing.T) *rotated {
	sub := *r
	sub.T = t
	return &sub
}
