package localoperator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// AggregateClusterRoles gives every ClusterRole with an aggregation rule the rules that it selects, as
// kube-controller-manager does where there is one: without it view, edit and admin allow nothing. Roles that are made or
// changed later need another call. Errors are the API server's.
func AggregateClusterRoles(ctx context.Context, config *rest.Config) error {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	// edit takes in view, and admin edit: each round brings the rules one role further.
	for range 4 {
		changed, err := aggregateOnce(ctx, clientset)
		if err != nil {
			return fmt.Errorf("aggregating ClusterRoles: %w", err)
		}
		if !changed {
			break
		}
	}
	return nil
}

func aggregateOnce(ctx context.Context, clientset kubernetes.Interface) (changed bool, err error) {
	roles := clientset.RbacV1().ClusterRoles()
	list, err := roles.List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	slices.SortFunc(list.Items, func(a, b rbacv1.ClusterRole) int { return strings.Compare(a.Name, b.Name) })
	for i := range list.Items {
		role := &list.Items[i]
		if role.AggregationRule == nil {
			continue
		}
		rules, err := rulesFor(role, list.Items)
		if err != nil {
			return false, err
		}
		if equality.Semantic.DeepEqual(rules, role.Rules) {
			continue
		}
		role.Rules = rules
		if _, err := roles.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
			return false, err
		}
		changed = true
	}
	return changed, nil
}

// rulesFor returns the rules of all other roles that the role selects, each once.
func rulesFor(role *rbacv1.ClusterRole, all []rbacv1.ClusterRole) ([]rbacv1.PolicyRule, error) {
	var rules []rbacv1.PolicyRule
	for _, labelSelector := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&labelSelector)
		if err != nil {
			return nil, err
		}
		for i := range all {
			if all[i].Name == role.Name || !selector.Matches(labels.Set(all[i].Labels)) {
				continue
			}
			for _, rule := range all[i].Rules {
				if !slices.ContainsFunc(rules, func(known rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(known, rule) }) {
					rules = append(rules, rule)
				}
			}
		}
	}
	return rules, nil
}
