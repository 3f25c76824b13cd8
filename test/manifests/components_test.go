package manifests_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/scim-operator/scim-operator/hack/localoperator"
)

// openToAPIServers is what an overlay adds to the component authorizer.
const openToAPIServers = `
patches:
- target: {kind: NetworkPolicy, labelSelector: app.kubernetes.io/component=server}
  patch: |-
    - op: add
      path: /spec/ingress/-
      value: {ports: [{port: authorizer}], from: [{ipBlock: {cidr: 192.0.2.0/28}}]}
`

// components tells the values of the chart that stand for each component of kustomize's.
var components = []struct{ name, values, patches string }{
	{name: "tls-secret", values: "tls.secretName=scim-operator-server-tls"},
	{name: "cert-manager", values: "tls.certManager.enabled=true,tls.certManager.issuerRef.name=letsencrypt,tls.certManager.dnsNames={scim.example.com}"},
	{name: "ingress", values: "ingress.enabled=true,ingress.host=scim.example.com,ingress.tlsSecretName=scim-public-tls,externalURL=https://scim.example.com"},
	{name: "httproute", values: "httpRoute.enabled=true,httpRoute.parentRefs[0].name=public,httpRoute.parentRefs[0].namespace=gateway," +
		"httpRoute.hostnames={scim.example.com},externalURL=https://scim.example.com"},
	{name: "authorizer", values: "authorizer.enabled=true,authorizer.secretName=scim-operator-authorizer-tls," +
		"authorizer.clientCASecretName=scim-operator-authorizer-client-ca,authorizer.allowedCIDRs={192.0.2.0/28}", patches: openToAPIServers},
	{name: "flow-schema", values: "flowSchema.enabled=true"},
	{name: "prometheus", values: "metrics.podMonitor.enabled=true"},
	{name: "service-monitor", values: "metrics.serviceMonitor.enabled=true"},
	{name: "tracing", values: "tracing.endpoint=http://collector.tracing.svc:4318"},
	{name: "prometheus-rule", values: "metrics.prometheusRule.enabled=true"},
}

// Every component is valid for a real API server, also in another namespace and under another name, and is what the chart
// installs by the values of the same purpose.
func TestComponents(t *testing.T) {
	c := startCluster(t)
	binary, err := localoperator.BuildOperator(t.Context())
	must(t, err)
	prometheus := moduleDir(t, "github.com/prometheus-operator/prometheus-operator@v0.85.0") + "/example/prometheus-operator-crd/monitoring.coreos.com_"
	for _, definitions := range []string{
		moduleDir(t, "sigs.k8s.io/gateway-api@v1.6.3") + "/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
		moduleDir(t, "github.com/cert-manager/cert-manager@v1.21.2") + "/deploy/crds/cert-manager.io_certificates.yaml",
		prometheus + "podmonitors.yaml", prometheus + "servicemonitors.yaml", prometheus + "prometheusrules.yaml",
	} {
		if output, err := c.kubectl(t.Context(), "apply", "--server-side", "-f", definitions); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	for _, component := range components {
		t.Run(component.name, func(t *testing.T) {
			text := "resources: [CONFIG/default]\ncomponents: [CONFIG/components/" + component.name + "]\n" + component.patches
			want, got := byName(kustomize(t, overlay(t, text))), byName(helmTemplate(t, "--set", component.values))
			delete(want, "Namespace//scim-operator-system")
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Fatalf("objects of kustomize (-) and of the chart (+):\n%s", diff)
			}
			for name, object := range want {
				if diff := cmp.Diff(withoutHelm(t, object), withoutHelm(t, got[name])); diff != "" {
					t.Errorf("%s of kustomize (-) and of the chart (+):\n%s", name, diff)
				}
			}
			deployment := serverOf(t, want)
			readsMountedFiles(t, deployment)
			takesArguments(t, binary, deployment)
			c.apply(t, overlay(t, text+"namespace: identity\nnamePrefix: acme-\n"))
		})
	}
	c.namesItself(t)
}

// moduleDir returns where the Go module proxy's copy of a version is: projects publish their CRDs in it.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module).Output()
	if err != nil {
		t.Fatalf("go mod download %s: %v\n%s", module, err, output)
	}
	var downloaded struct{ Dir string }
	must(t, json.Unmarshal(output, &downloaded))
	return downloaded.Dir
}

// serverOf returns the server's Deployment.
func serverOf(t *testing.T, objects map[string]*unstructured.Unstructured) *appsv1.Deployment {
	t.Helper()
	deployment := &appsv1.Deployment{}
	must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(objects["Deployment/"+localoperator.Namespace+"/"+localoperator.ServerAccount].Object, deployment))
	return deployment
}

// takesArguments: the program gets as far as to look for an API server, which it is given none of.
func takesArguments(t *testing.T, binary string, deployment *appsv1.Deployment) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, binary, deployment.Spec.Template.Spec.Containers[0].Args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(t.TempDir(), "none"))
	output, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "kubeconfig") && !strings.Contains(string(output), "configuration") {
		t.Errorf("%s does not take %q: %v\n%s", binary, command.Args[1:], err, output)
	}
}

// readsMountedFiles: every file that an argument names is in a volume.
func readsMountedFiles(t *testing.T, deployment *appsv1.Deployment) {
	t.Helper()
	container := deployment.Spec.Template.Spec.Containers[0]
	for _, argument := range container.Args {
		flag, path, _ := strings.Cut(argument, "=")
		if strings.HasSuffix(flag, "-file") && !slices.ContainsFunc(container.VolumeMounts, func(mount corev1.VolumeMount) bool {
			return filepath.Dir(path) == mount.MountPath
		}) {
			t.Errorf("%s is not in one of the mounts %+v", argument, container.VolumeMounts)
		}
	}
}

// namesItself: references in the components' objects follow the overlay's namespace and prefix.
func (c *cluster) namesItself(t *testing.T) {
	t.Helper()
	for arguments, want := range map[string]string{
		"flowschema acme-scim-operator-controller -o jsonpath={.spec.priorityLevelConfiguration.name}":                         "acme-scim-operator-controller",
		"flowschema acme-scim-operator-controller -o jsonpath={.spec.rules[0].subjects[0].serviceAccount.name}":                "acme-scim-operator-controller",
		"flowschema acme-scim-operator-server -o jsonpath={.spec.rules[0].subjects[0].serviceAccount.namespace}":               "identity",
		"httproute -n identity acme-scim-operator-server -o jsonpath={.spec.rules[0].backendRefs[0].name}":                     "acme-scim-operator-server",
		"ingress -n identity acme-scim-operator-server -o jsonpath={.spec.rules[0].http.paths[0].backend.service.name}":        "acme-scim-operator-server",
		"certificate.cert-manager.io -n identity acme-scim-operator-server -o jsonpath={.spec.secretName}":                     "scim-operator-server-tls",
		"podmonitor -n identity acme-scim-operator -o jsonpath={.spec.selector.matchLabels.app\\.kubernetes\\.io/name}":        "scim-operator",
		"service -n identity acme-scim-operator-server -o jsonpath={.spec.selector.app\\.kubernetes\\.io/component}":           "server",
		"rolebinding -n identity acme-scim-operator-leader-election -o jsonpath={.subjects[0].name}{.subjects[0].namespace}":   "acme-scim-operator-controlleridentity",
		"clusterrolebinding acme-scim-operator-controller -o jsonpath={.roleRef.name}{.subjects[0].name}":                      "acme-scim-operator-controlleracme-scim-operator-controller",
		"validatingadmissionpolicybinding acme-scim-operator-revoked -o jsonpath={.spec.policyName}{.spec.paramRef.namespace}": "acme-scim-operator-revokedidentity",
	} {
		output, err := c.kubectl(t.Context(), append([]string{"get"}, strings.Fields(arguments)...)...)
		if err != nil || output != want {
			t.Errorf("kubectl get %s: %q, want %q (error %v)", arguments, output, want, err)
		}
	}
}
