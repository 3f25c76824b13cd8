package policycheck

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	policyKind     = "ValidatingAdmissionPolicy"
	bindingKind    = "ValidatingAdmissionPolicyBinding"
	definitionKind = "CustomResourceDefinition"

	// account is the controller's ServiceAccount before an overlay or a release adds a prefix or a suffix to all names.
	account       = "scim-operator-controller"
	accountPrefix = "system:serviceaccount:"
)

// installation is how the objects of config/ are named in one cluster.
type installation struct{ prefix, suffix, namespace string }

// installationOf returns how the installation names its objects, by the controller's own user name. A user that is no
// ServiceAccount of this operator, such as a developer's, tells nothing: the names are those of config/ then.
func installationOf(user, namespace string) installation {
	of, name, found := strings.Cut(strings.TrimPrefix(user, accountPrefix), ":")
	prefix, suffix, named := strings.Cut(name, account)
	if !strings.HasPrefix(user, accountPrefix) || !found || !named {
		return installation{namespace: namespace}
	}
	return installation{prefix, suffix, of}
}

func (i installation) name(of string) string { return i.prefix + of + i.suffix }

// expected returns the policies, bindings and definitions of the manifests, under the names that the installation gives them. It fails
// where a manifest is none.
func expected(manifests fs.FS, i installation) ([]client.Object, error) {
	var objects []client.Object
	err := fs.WalkDir(manifests, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(manifests, path)
		if err != nil {
			return err
		}
		found, err := decode(data, i)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		objects = append(objects, found...)
		return nil
	})
	return objects, err
}

// decode returns the policies, bindings and definitions among the documents; kustomize's own files have none.
func decode(data []byte, i installation) ([]client.Object, error) {
	var objects []client.Object
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		raw := &unstructured.Unstructured{}
		switch err := decoder.Decode(&raw.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, err
		}
		var object client.Object
		switch raw.GetKind() {
		case policyKind:
			object = &admissionv1.ValidatingAdmissionPolicy{}
		case bindingKind:
			object = &admissionv1.ValidatingAdmissionPolicyBinding{}
		case definitionKind:
			definition, err := definitionFrom(raw)
			if err != nil {
				return nil, err
			}
			objects = append(objects, definition) // under one name in each cluster
			continue
		default:
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(raw.Object, object, true); err != nil {
			return nil, err
		}
		if binding, ok := object.(*admissionv1.ValidatingAdmissionPolicyBinding); ok {
			i.place(&binding.Spec)
		}
		object.SetName(i.name(object.GetName()))
		objects = append(objects, object)
	}
}

// manifestNamespace is the operator's in the manifests.
const manifestNamespace = "scim-operator-system"

// place renames what a binding refers to. A parameter without a namespace is of that of each request.
func (i installation) place(binding *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
	binding.PolicyName = i.name(binding.PolicyName)
	if binding.ParamRef == nil {
		return
	}
	if binding.ParamRef.Namespace == manifestNamespace {
		binding.ParamRef.Namespace = i.namespace
	}
	if binding.ParamRef.Name != "" {
		binding.ParamRef.Name = i.name(binding.ParamRef.Name)
	}
}
