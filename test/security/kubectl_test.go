package security_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// kubectl has the cluster's administrator write an object by kubectl, as GitOps does.
func (n *tenant) kubectl(t *testing.T, object client.Object, arguments ...string) {
	t.Helper()
	n.kubectlAll(t, []client.Object{object}, arguments...)
}

// kubectlAll writes several objects by one command, in this order.
func (n *tenant) kubectlAll(t *testing.T, objects []client.Object, arguments ...string) {
	t.Helper()
	if output, err := n.tryKubectl(t, objects, arguments...); err != nil {
		t.Fatalf("kubectl %q: %v\n%s", arguments, err, output)
	}
}

// tryKubectl returns what kubectl said.
func (n *tenant) tryKubectl(t *testing.T, objects []client.Object, arguments ...string) (output []byte, err error) {
	t.Helper()
	var manifest bytes.Buffer
	for _, object := range objects {
		object = object.DeepCopyObject().(client.Object)
		kind, err := apiutil.GVKForObject(object, operator.Env.Scheme)
		must(t, err)
		object.GetObjectKind().SetGroupVersionKind(kind)
		object.SetResourceVersion("")
		object.SetUID("")
		must(t, json.NewEncoder(&manifest).Encode(object))
	}
	path := filepath.Join(t.TempDir(), "manifest.json")
	must(t, os.WriteFile(path, manifest.Bytes(), 0o600))
	return n.runKubectl(t, append(arguments, "-f", path)...)
}

// runKubectl runs kubectl as the cluster's administrator.
func (n *tenant) runKubectl(t *testing.T, arguments ...string) (output []byte, err error) {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, operator.Env.ControlPlane.WriteKubeconfig(kubeconfig, "admin", "system:masters"))
	command := exec.CommandContext(t.Context(), operator.Env.Kubectl, append(arguments, "--kubeconfig", kubeconfig)...)
	return command.CombinedOutput()
}

func rbacRule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

func configSecret(namespace, name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: map[string]string{"token": "none"}}
}
