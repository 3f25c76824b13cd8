package policycheck

import (
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// differences returns the fields of the specification that have not the value that they should have: fields added count, since
// a selector more takes objects out of a policy. What the API server fills in counts for nothing. Both objects are changed.
func differences(want, have client.Object) ([]string, error) {
	if definition, ok := want.(*unstructured.Unstructured); ok {
		return definitionDifferences(definition, have.(*unstructured.Unstructured))
	}
	expected, err := fieldsOf(want)
	if err != nil {
		return nil, err
	}
	found, err := fieldsOf(have)
	if err != nil {
		return nil, err
	}
	var fields []string
	for field := range expected {
		if !apiequality.Semantic.DeepEqual(oneLine(expected[field]), oneLine(found[field])) {
			fields = append(fields, "spec."+field)
		}
	}
	for field := range maps.Keys(found) {
		if _, known := expected[field]; !known {
			fields = append(fields, "spec."+field)
		}
	}
	slices.Sort(fields)
	return fields, nil
}

// fieldsOf returns the specification with the API server's defaults, by field.
func fieldsOf(object client.Object) (map[string]any, error) {
	switch object := object.(type) {
	case *admissionv1.ValidatingAdmissionPolicy:
		if object.Spec.FailurePolicy == nil {
			object.Spec.FailurePolicy = new(admissionv1.Fail)
		}
		setDefaults(object.Spec.MatchConstraints)
		return runtime.DefaultUnstructuredConverter.ToUnstructured(&object.Spec)
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		setDefaults(object.Spec.MatchResources)
		return runtime.DefaultUnstructuredConverter.ToUnstructured(&object.Spec)
	}
	return nil, nil
}

// oneLine returns the value with every run of blanks and ends of line in its texts as one blank: tools that write YAML fold long
// expressions anew, and CEL takes no notice.
func oneLine(value any) any {
	switch value := value.(type) {
	case string:
		return strings.Join(strings.Fields(value), " ")
	case []any:
		for i := range value {
			value[i] = oneLine(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = oneLine(value[key])
		}
	}
	return value
}

// emptyLike returns an object of the same kind to read into.
func emptyLike(object client.Object) client.Object {
	if definition, ok := object.(*unstructured.Unstructured); ok {
		empty := &unstructured.Unstructured{}
		empty.SetGroupVersionKind(definition.GroupVersionKind())
		return empty
	}
	if _, binding := object.(*admissionv1.ValidatingAdmissionPolicyBinding); binding {
		return &admissionv1.ValidatingAdmissionPolicyBinding{}
	}
	return &admissionv1.ValidatingAdmissionPolicy{}
}

func setDefaults(resources *admissionv1.MatchResources) {
	if resources == nil {
		return
	}
	if resources.MatchPolicy == nil {
		resources.MatchPolicy = new(admissionv1.Equivalent)
	}
	if resources.NamespaceSelector == nil {
		resources.NamespaceSelector = &metav1.LabelSelector{}
	}
	if resources.ObjectSelector == nil {
		resources.ObjectSelector = &metav1.LabelSelector{}
	}
	for _, rules := range [][]admissionv1.NamedRuleWithOperations{resources.ResourceRules, resources.ExcludeResourceRules} {
		for i := range rules {
			if rules[i].Scope == nil {
				rules[i].Scope = new(admissionv1.AllScopes)
			}
		}
	}
}
