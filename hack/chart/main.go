// Command chart writes the parts of charts/scim-operator that no value changes, from the objects that kustomize renders of
// config/default, which it reads on standard input: CRDs, admission policies, ServiceAccounts and RBAC. So the chart and
// config/ cannot come apart. The alerts come from their component, which config/default lacks. `make manifests` runs it.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	yamldecoder "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	namespace   = "scim-operator-system"
	keepLabel   = "scim-operator.io/undeploy"
	headComment = "{{- /* Generated from config/ by make manifests. */ -}}\n"
)

// files tells the generated templates and the kinds in each. Kinds that are in none are written by hand, since values change
// them; TestChartEqualsKustomize compares them.
var files = map[string][]string{
	"crds.yaml":     {"CustomResourceDefinition"},
	"policies.yaml": {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"},
	"rbac.yaml":     {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "PriorityClass"},
}

// byHand are objects of those kinds that values change.
var byHand = []string{"ClusterRole/scim-operator-bindable", "ClusterRoleBinding/scim-operator-controller-apps"}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: chart DIR RULE.yaml < rendered.yaml")
		os.Exit(2)
	}
	if err := errors.Join(run(os.Stdin, os.Args[1]), writeRule(os.Args[2], os.Args[1])); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(rendered io.Reader, dir string) error {
	objects, err := decode(rendered)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for file, kinds := range files {
		if err := write(filepath.Join(dir, file), objects, kinds); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// writeRule writes the template of the PrometheusRule from the one of config/. Prometheus' own templates in it are none of Helm's.
func writeRule(path, dir string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	object := map[string]any{}
	if err := yaml.Unmarshal(raw, &object); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	spec, err := yaml.Marshal(map[string]any{"spec": object["spec"]})
	if err != nil {
		return err
	}
	text := headComment + ruleHead + strings.ReplaceAll(string(spec), "{{", `{{ "{{" }}`) + "{{- end }}\n"
	return os.WriteFile(filepath.Join(dir, "prometheus-rule.yaml"), []byte(text), 0o644)
}

// ruleHead goes before the spec of the PrometheusRule.
const ruleHead = `{{- if .Values.metrics.prometheusRule.enabled }}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ .Values.namePrefix }}scim-operator
  namespace: {{ .Release.Namespace }}
  labels:
    app.kubernetes.io/name: scim-operator
    {{- include "scim-operator.labels" (dict "root" . "component" "") | nindent 4 }}
    {{- with .Values.metrics.prometheusRule.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
`

func decode(rendered io.Reader) ([]*unstructured.Unstructured, error) {
	decoder := yamldecoder.NewYAMLOrJSONDecoder(rendered, 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the rendered objects: %w", err)
		}
		objects = append(objects, object)
	}
}

func write(path string, objects []*unstructured.Unstructured, kinds []string) error {
	var content bytes.Buffer
	content.WriteString(headComment)
	for _, object := range objects {
		if !slices.Contains(kinds, object.GetKind()) || slices.Contains(byHand, object.GetKind()+"/"+object.GetName()) {
			continue
		}
		text, err := template(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		content.WriteString("---\n" + text)
	}
	return os.WriteFile(path, content.Bytes(), 0o644)
}

// template returns the object with the release's namespace, the prefix of names, and Helm's own labels.
func template(object *unstructured.Unstructured) (string, error) {
	raw, err := yaml.Marshal(object.Object)
	if err != nil {
		return "", err
	}
	if bytes.Contains(raw, []byte("{{")) {
		return "", errors.New("holds {{, which Helm takes for a template")
	}
	object = object.DeepCopy()
	labels := object.GetLabels()
	if labels[keepLabel] == "keep" {
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations["helm.sh/resource-policy"] = "keep"
		object.SetAnnotations(annotations)
	}
	labels["app.kubernetes.io/managed-by"] = "{{ .Release.Service }}"
	labels["helm.sh/chart"] = `{{ include "scim-operator.chart" . }}`
	object.SetLabels(labels)
	if object.GetKind() != "CustomResourceDefinition" { // its name is that of the resource
		rename(object.Object, nil)
	}
	text, err := yaml.Marshal(object.Object)
	return string(text), err
}

// references are the paths of names that a prefix changes. Others, such as the Lease's in a Role, are constants of the program.
var references = []string{"metadata.name", "roleRef.name", "subjects.name", "spec.policyName", "spec.paramRef.name"}

// namespaces are the paths of namespaces.
var namespaces = []string{"metadata.namespace", "subjects.namespace", "spec.paramRef.namespace"}

func rename(fields map[string]any, path []string) {
	for key, value := range fields {
		here := append(slices.Clone(path), key)
		joined := strings.Join(here, ".")
		switch value := value.(type) {
		case string:
			switch {
			case slices.Contains(references, joined):
				fields[key] = "{{ .Values.namePrefix }}" + value
			case slices.Contains(namespaces, joined) && value == namespace:
				fields[key] = "{{ .Release.Namespace }}"
			}
		case map[string]any:
			rename(value, here)
		case []any:
			for n, element := range value {
				switch element := element.(type) {
				case map[string]any:
					rename(element, here)
				case string:
					if joined == "rules.resourceNames" && aboutPolicies(fields) {
						value[n] = "{{ .Values.namePrefix }}" + element
					}
				}
			}
		}
	}
}

// aboutPolicies says whether a rule of a role names admission policies: their names have the prefix.
func aboutPolicies(rule map[string]any) bool {
	groups, _, _ := unstructured.NestedStringSlice(rule, "apiGroups")
	return slices.Contains(groups, "admissionregistration.k8s.io")
}
