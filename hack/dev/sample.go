package dev

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/scheme"
)

const (
	sampleDir = "samples/quickstart"
	// sampleTimeout bounds how long the controller may take to accept the sample.
	sampleTimeout = 60 * time.Second
	samplePoll    = 100 * time.Millisecond
)

// sample is the applied App, and the token that opens it.
type sample struct {
	app   client.ObjectKey
	token string
}

// applySample applies the quickstart sample: an App, and a ScimToken that has the controller
// generate a token. The App says under which URL its clients reach it.
func (r *run) applySample(ctx context.Context) (*sample, error) {
	objects, err := localoperator.ReadObjects(config.FS, sampleDir)
	if err != nil {
		return nil, err
	}
	app, err := findApp(objects)
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		if object.GetKind() == "App" {
			if err := unstructured.SetNestedField(object.Object, r.scimURL(), "spec", "externalURL"); err != nil {
				return nil, err
			}
		}
	}
	return &sample{app: app}, localoperator.Apply(ctx, r.plane.Config, objects)
}

func findApp(objects []*unstructured.Unstructured) (client.ObjectKey, error) {
	for _, object := range objects {
		if object.GetKind() == "App" && object.GroupVersionKind().Group == v1alpha1.GroupName {
			return client.ObjectKeyFromObject(object), nil
		}
	}
	return client.ObjectKey{}, fmt.Errorf("%s holds no App", sampleDir)
}

// waitReady returns when the controller has accepted the App and the ScimToken, which has its
// name, as they are. It reads the token that was generated.
func (s *sample) waitReady(ctx context.Context, restConfig *rest.Config) error {
	kinds, err := scheme.New()
	if err != nil {
		return err
	}
	c, err := client.New(restConfig, client.Options{Scheme: kinds})
	if err != nil {
		return err
	}
	app, scimToken := &v1alpha1.App{}, &v1alpha1.ScimToken{}
	if err := waitObjectReady(ctx, c, s.app, app, func() []metav1.Condition { return app.Status.Conditions }); err != nil {
		return fmt.Errorf("waiting for App %s: %w", s.app, err)
	}
	if err := waitObjectReady(ctx, c, s.app, scimToken, func() []metav1.Condition { return scimToken.Status.Conditions }); err != nil {
		return fmt.Errorf("waiting for ScimToken %s: %w", s.app, err)
	}
	secret := &corev1.Secret{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: s.app.Namespace, Name: scimToken.Spec.Generate.SecretName}, secret); err != nil {
		return fmt.Errorf("reading the token: %w", err)
	}
	s.token = string(secret.Data["token"])
	return nil
}

func waitObjectReady(ctx context.Context, c client.Client, key client.ObjectKey, object client.Object, conditions func() []metav1.Condition) error {
	err := wait.PollUntilContextTimeout(ctx, samplePoll, sampleTimeout, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, key, object); err != nil {
			return false, err
		}
		ready := meta.FindStatusCondition(conditions(), v1alpha1.ConditionReady)
		return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == object.GetGeneration(), nil
	})
	if err == nil {
		return nil
	}
	if ready := meta.FindStatusCondition(conditions(), v1alpha1.ConditionReady); ready != nil {
		return fmt.Errorf("%w: Ready is %s, %s: %s", err, ready.Status, ready.Reason, ready.Message)
	}
	return fmt.Errorf("%w: it has no condition Ready", err)
}
