package manifests_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/scim-operator/scim-operator/hack/localoperator"
)

const keepLabel, keepAnnotation = "scim-operator.io/undeploy", "helm.sh/resource-policy"

func TestChartLints(t *testing.T) {
	output, err := tool(t.Context(), "helm", os.DevNull, "lint", "--strict", chart)
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}

// With default values, the chart is config/default: object by object, but for the image's tag, Helm's own labels, and the
// Namespace, which helm install makes.
func TestChartEqualsKustomize(t *testing.T) {
	want, got := byName(kustomize(t, "../../config/default")), byName(helmTemplate(t))
	delete(want, "Namespace//scim-operator-system")
	for _, object := range got {
		if keeps := object.GetAnnotations()[keepAnnotation] == "keep"; keeps != (object.GetLabels()[keepLabel] == "keep") {
			t.Errorf("%s %s: Helm keeps it: %t, make undeploy keeps it: %t", object.GetKind(), object.GetName(), keeps, !keeps)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] == nil {
			t.Errorf("the chart lacks %s", name)
			continue
		}
		if diff := cmp.Diff(withoutHelm(t, want[name]), withoutHelm(t, got[name])); diff != "" {
			t.Errorf("%s of kustomize (-) and of the chart (+):\n%s", name, diff)
		}
	}
	for name := range got {
		if want[name] == nil {
			t.Errorf("config/default lacks %s", name)
		}
	}
}

func byName(objects []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	named := map[string]*unstructured.Unstructured{}
	for _, object := range objects {
		named[object.GetKind()+"/"+object.GetNamespace()+"/"+object.GetName()] = object
	}
	return named
}

// withoutHelm is the object without what Helm adds, and without the image's tag.
func withoutHelm(t *testing.T, object *unstructured.Unstructured) map[string]any {
	t.Helper()
	object = object.DeepCopy()
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	delete(labels, "helm.sh/chart")
	delete(labels, "app.kubernetes.io/managed-by")
	delete(annotations, keepAnnotation)
	object.SetLabels(labels)
	object.SetAnnotations(nil)
	if len(annotations) > 0 {
		object.SetAnnotations(annotations)
	}
	containers, found, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	must(t, err)
	if found {
		container := containers[0].(map[string]any)
		container["image"], _, _ = strings.Cut(container["image"].(string), ":")
		must(t, unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers"))
	}
	return object.Object
}

// Each value that is refused would install something that does not work, or that gives too much.
func TestChartRefusesValues(t *testing.T) {
	for setting, complaint := range map[string]string{
		"bindableRoles.clusterRoles={cluster-admin}":      "bindableRoles",
		"externalURL=https://scim.example.com/scim":       "externalURL",
		"server.replicas=0":                               "replicas",
		"tls.secretNam=x":                                 "secretNam",
		"authorizer.enabled=true":                         "authorizer",
		"authorizer.enabled=true,authorizer.secretName=a": "clientCASecretName",
		"authorizer.enabled=true,authorizer.secretName=a,authorizer.clientCASecretName=b": "authorizer.allowedCIDRs",
		"tls.certManager.enabled=true":                                   "issuerRef",
		"tls.certManager.enabled=true,tls.certManager.issuerRef.name=ca": "dnsNames",
		"ingress.enabled=true":                                           "ingress",
		"httpRoute.enabled=true":                                         "httpRoute",
		"trustedProxies={anywhere}":                                      "trustedProxies",
		"namePrefix=Acme":                                                "namePrefix",
		"server.resources=null,server.extraArgs={verbose}":               "extraArgs",
		"tls.certManager.issuerRef.kind=Secret":                          "kind",
	} {
		_, err := tool(t.Context(), "helm", os.DevNull, "template", "scim-operator", chart, "--set", setting)
		if err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("--set %s: error %v, want one about %s", setting, err, complaint)
		}
	}
}

// One helm install is enough, whatever the API server knows yet; the operator works by it under another name and in another
// namespace; and an uninstallation, tried twice, leaves definitions, objects, guards and access.
func TestHelmInstall(t *testing.T) {
	binary, err := localoperator.BuildOperator(t.Context())
	must(t, err)
	o := &operator{cluster: startCluster(t), namespace: "identity", server: "acme-scim-operator-server", controller: "acme-scim-operator-controller", bindsRole: true}
	must(t, o.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: appNamespace}}))
	settings := []string{"--namespace", o.namespace, "--set", "namePrefix=acme-,watchNamespaces={" + appNamespace + "},bindableRoles.clusterRoles={" + boundRole + "}"}
	o.helm(t, append([]string{"install", "idp", chart, "--create-namespace"}, settings...)...)
	o.run(t, binary)
	o.provisions(t, o.openApp(t))
	o.refusesOthers(t)
	o.bindsItsOwnAccounts(t)
	o.helm(t, append([]string{"upgrade", "idp", chart, "--set", "server.replicas=3"}, settings...)...)

	user := directoryObjects()[0]
	must(t, o.admin.Create(t.Context(), user))
	o.helm(t, "uninstall", "idp", "--namespace", o.namespace)
	o.definitionsAreGuarded(t)
	o.refusesForgery(t)
	o.runsNothing(t)
	if _, err := o.tryHelm(t, "uninstall", "idp", "--namespace", o.namespace); err == nil {
		t.Error("a second helm uninstall finds a release")
	}
	o.definitionsAreGuarded(t)
	o.helm(t, append([]string{"install", "idp", chart}, settings...)...)
}

func (c *cluster) helm(t *testing.T, arguments ...string) {
	t.Helper()
	if output, err := c.tryHelm(t, arguments...); err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}

func (c *cluster) tryHelm(t *testing.T, arguments ...string) ([]byte, error) {
	t.Helper()
	return tool(t.Context(), "helm", c.kubeconfig, arguments...)
}
