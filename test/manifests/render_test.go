package manifests_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const chart = "../../charts/scim-operator"

// tool runs one of the tools that are pinned in hack/tools, and returns its standard output.
func tool(ctx context.Context, name, kubeconfig string, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "go", append([]string{"tool", "-modfile=../../hack/tools/" + name + "/go.mod", name}, arguments...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		err = errors.Join(err, errors.New(stderr.String()))
	}
	return output, err
}

// helmTemplate renders the chart as a release of the default name and namespace.
func helmTemplate(t *testing.T, arguments ...string) []*unstructured.Unstructured {
	t.Helper()
	output, err := tool(t.Context(), "helm", os.DevNull, append([]string{"template", "scim-operator", chart, "--namespace", "scim-operator-system"}, arguments...)...)
	must(t, err)
	return decode(t, output)
}

// kustomize renders a folder by the pinned kustomize.
func kustomize(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	output, err := tool(t.Context(), "kustomize", os.DevNull, "build", dir)
	must(t, err)
	return decode(t, output)
}

// decode reads the objects of a rendered manifest.
func decode(t *testing.T, manifest []byte) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		must(t, err)
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
