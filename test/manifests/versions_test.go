package manifests_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"

	"github.com/scim-operator/scim-operator/hack/controlplane"
)

// An API server takes a new expression only where the minor version before it has the functions, so that it can be rolled back:
// 1.34 takes what 1.33 has. make test-kubernetes KUBERNETES=1.34 asks such an API server.
func TestExpressionsAreOfTheOldestVersion(t *testing.T) {
	before := version.MustParseGeneric(controlplane.Oldest()).SubtractMinor(1)
	var variables []cel.EnvOption
	for _, name := range []string{"object", "oldObject", "request", "params", "namespaceObject", "variables", "self", "oldSelf"} {
		variables = append(variables, cel.Variable(name, cel.DynType))
	}
	variables = append(variables, cel.Variable("authorizer", library.AuthorizerType))
	set, err := environment.MustBaseEnvSet(before).Extend(environment.VersionedOptions{IntroducedVersion: before, EnvOptions: variables})
	must(t, err)
	env, err := set.Env(environment.NewExpressions)
	must(t, err)
	if _, issues := env.Compile("[[1]].flatten()"); issues.Err() == nil {
		t.Fatal("the environment has what came with Kubernetes 1.34")
	}
	found := 0
	for _, folder := range []string{"crd/bases", "crd", "policies"} {
		files, err := filepath.Glob("../../config/" + folder + "/*.yaml")
		must(t, err)
		for _, file := range files {
			for _, expression := range expressionsOf(t, file) {
				found++
				if _, issues := env.Compile(expression); issues.Err() != nil {
					t.Errorf("%s: %s: %v", file, expression, issues.Err())
				}
			}
		}
	}
	if found < 300 {
		t.Errorf("only %d expressions", found)
	}
}

// expressionsOf returns all of a file, of policies and of definitions.
func expressionsOf(t *testing.T, file string) (expressions []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	decoder := yaml.NewYAMLToJSONDecoder(bytes.NewReader(data))
	for {
		var document any
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return expressions
		} else if err != nil {
			t.Fatal(file, err)
		}
		expressions = append(expressions, expressionsIn(document)...)
	}
}

func expressionsIn(value any) (expressions []string) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			text, isText := inner.(string)
			if isText && (name == "expression" || name == "messageExpression" || name == "rule") {
				expressions = append(expressions, text)
			}
			expressions = append(expressions, expressionsIn(inner)...)
		}
	case []any:
		for _, inner := range value {
			expressions = append(expressions, expressionsIn(inner)...)
		}
	}
	return expressions
}

// The chart installs on the oldest version, as distributions write it, and on none before.
func TestChartRefusesOlderVersions(t *testing.T) {
	oldest := version.MustParseGeneric(controlplane.Oldest())
	for running, want := range map[string]string{
		oldest.SubtractMinor(1).String() + ".99":  "chart requires kubeVersion",
		oldest.String() + ".0":                    "",
		"v" + oldest.String() + ".1-eks-3025e55":  "",
		"v" + oldest.String() + ".1+k3s1":         "",
		"v" + oldest.AddMinor(3).String() + ".0":  "",
		"v" + oldest.String() + ".0-gke.1000000":  "",
		"v" + oldest.String() + ".0-alpha.1+dirt": "",
	} {
		_, err := tool(t.Context(), "helm", os.DevNull, "template", "scim-operator", chart, "--kube-version", running)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Kubernetes %s: error %v, want %q", running, err, want)
		}
	}
}
