package localoperator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const (
	policiesDir   = "policies"
	guardDir      = "crd"
	policyKind    = "ValidatingAdmissionPolicy"
	policyBinding = "ValidatingAdmissionPolicyBinding"
	// lastPolicy refuses something that an administrator may otherwise do, so that its being in
	// force can be seen without a change.
	lastPolicy = "scim-operator-definitions"
	// policiesTimeout is longer than the 30 s for which the API server may not know a new kind
	// that is a policy's parameter.
	policiesTimeout = 90 * time.Second
)

// sortPolicies puts policies before bindings, and what belongs to lastPolicy at the end of
// either: the API server learns of each kind in the order in which it was written, so that
// the last one in force means that all are.
func sortPolicies(objects []*unstructured.Unstructured) {
	order := func(object *unstructured.Unstructured) int {
		rank := 0
		switch object.GetKind() {
		case policyKind:
			rank = 2
		case policyBinding:
			rank = 4
		}
		if object.GetName() == lastPolicy {
			rank++
		}
		return rank
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return order(a) - order(b) })
}

// WaitForPolicies waits until the API server refuses what lastPolicy forbids, and takes what
// the policies with parameters let pass: these refuse everything until their kind of
// parameter is known, after their installation and after each start of an API server. It
// changes nothing, and fails where ctx ends or a policy answers otherwise for too long.
func WaitForPolicies(ctx context.Context, config *rest.Config) error {
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, settlePoll, policiesTimeout, true, func(ctx context.Context) (bool, error) {
		last = probePolicies(ctx, c)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the admission policies: %w (%w)", err, last)
	}
	return nil
}

// probePolicies returns nil once the policies answer as they should. Every request is a dry run.
func probePolicies(ctx context.Context, c dynamic.Interface) error {
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	dryRun := []string{metav1.DryRunAll}
	err := c.Resource(definitions).Delete(ctx, "apps.scim-operator.io", metav1.DeleteOptions{DryRun: dryRun})
	if err == nil {
		return fmt.Errorf("a deletion that policy %s forbids is let through", lastPolicy)
	}
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), lastPolicy) {
		return fmt.Errorf("a deletion that policy %s forbids was answered otherwise: %w", lastPolicy, err)
	}
	for resource, object := range map[string]map[string]any{
		"apps": {"kind": "App", "spec": map[string]any{}},
		"scimtokens": {"kind": "ScimToken", "spec": map[string]any{
			"app": "none", "digest": "sha256:" + strings.Repeat("0", 64),
		}},
	} {
		object["apiVersion"] = "scim-operator.io/v1alpha1"
		object["metadata"] = map[string]any{"generateName": "probe-"}
		probe := c.Resource(schema.GroupVersionResource{Group: "scim-operator.io", Version: "v1alpha1", Resource: resource}).Namespace(Namespace)
		if _, err := probe.Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{DryRun: dryRun}); err != nil {
			return fmt.Errorf("a dry run of creating one of %s: %w", resource, err)
		}
	}
	return nil
}
