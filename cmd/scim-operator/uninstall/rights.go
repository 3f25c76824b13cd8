package uninstall

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// needed are the rights without which Run could not end what it begins.
func needed() []authorizationv1.ResourceAttributes {
	var rights []authorizationv1.ResourceAttributes
	add := func(group, resource string, verbs ...string) {
		for _, verb := range verbs {
			rights = append(rights, authorizationv1.ResourceAttributes{Group: group, Resource: resource, Verb: verb})
		}
	}
	add("apps", "deployments", "list", "patch", "delete")
	add("", "pods", "list")
	add("coordination.k8s.io", "leases", "list")
	add("rbac.authorization.k8s.io", "rolebindings", "list", "patch", "delete")
	add("rbac.authorization.k8s.io", "clusterrolebindings", "list", "patch", "delete")
	add("rbac.authorization.k8s.io", "roles", "list", "delete")
	// The policy of the directory asks it of every account that removes finalizers.
	add("rbac.authorization.k8s.io", "clusterroles", "list", "delete", "escalate")
	for _, resource := range []string{"apps", "oauthgrants", "scimtokens", "approlebindings", "groups", "membershards", "users", "revocationlists", "nameclaims"} {
		add(v1alpha1.GroupName, resource, "list", "get", "patch", "delete")
	}
	add("apiextensions.k8s.io", "customresourcedefinitions", "list", "get", "patch", "delete")
	for _, resource := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
		add("admissionregistration.k8s.io", resource, "list", "get", "patch", "delete")
	}
	add("policy", "poddisruptionbudgets", "list", "delete")
	add("networking.k8s.io", "networkpolicies", "list", "delete")
	for _, resource := range []string{"services", "serviceaccounts", "namespaces"} {
		add("", resource, "list", "delete")
	}
	add("flowcontrol.apiserver.k8s.io", "flowschemas", "list", "delete")
	add("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "list", "delete")
	add("scheduling.k8s.io", "priorityclasses", "list", "delete")
	return rights
}

// CheckRights returns an error that names every right that Run needs and the caller lacks: half a removal is worse than none.
func (u *Uninstaller) CheckRights(ctx context.Context) error {
	var lacking []string
	for _, right := range needed() {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right}}
		if err := u.client.Create(ctx, review); err != nil {
			return fmt.Errorf("ask for the right to %s %s: %w", right.Verb, right.Resource, err)
		}
		if !review.Status.Allowed {
			lacking = append(lacking, strings.TrimSuffix(right.Verb+" "+right.Resource+"."+right.Group, "."))
		}
	}
	if len(lacking) > 0 {
		return fmt.Errorf("nothing was changed: you lack the right, in the whole cluster, to\n  %s\nA binding to cluster-admin gives them", strings.Join(lacking, "\n  "))
	}
	return nil
}
