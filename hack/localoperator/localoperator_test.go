package localoperator_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/controlplane"
	"github.com/scim-operator/scim-operator/hack/localoperator"
)

func startControlPlane(t *testing.T) *controlplane.ControlPlane {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	binDir, err := controlplane.Ensure(ctx, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := controlplane.Start(ctx, controlplane.Options{BinDir: binDir, UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// The whole way of an installation: manifests, ServiceAccount credentials, and what these may do.
func TestInstallAndServiceAccountCredentials(t *testing.T) {
	ctx := t.Context()
	c := startControlPlane(t)
	for range 2 { // a second installation changes nothing
		if err := localoperator.Install(ctx, c.Config, config.FS); err != nil {
			t.Fatal(err)
		}
	}
	for _, account := range []struct {
		name    string
		secrets bool
	}{
		{name: localoperator.ServerAccount, secrets: false},
		{name: localoperator.ControllerAccount, secrets: true},
	} {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := localoperator.ServiceAccountKubeconfig(ctx, c.Config, localoperator.Namespace, account.name, path); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{path, path + ".token"} {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, want 0600", file, info.Mode())
			}
		}
		restConfig, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := whoAmI(t, restConfig), "system:serviceaccount:"+localoperator.Namespace+":"+account.name; got != want {
			t.Errorf("the kubeconfig is %q's, want %q's", got, want)
		}
		if got := canListSecrets(t, restConfig); got != account.secrets {
			t.Errorf("%s can list Secrets: %t, want %t", account.name, got, account.secrets)
		}
	}
}

func whoAmI(t *testing.T, config *rest.Config) string {
	t.Helper()
	review, err := kubernetes.NewForConfigOrDie(config).AuthenticationV1().SelfSubjectReviews().
		Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.UserInfo.Username
}

func canListSecrets(t *testing.T, config *rest.Config) bool {
	t.Helper()
	review, err := kubernetes.NewForConfigOrDie(config).AuthorizationV1().SelfSubjectAccessReviews().
		Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "secrets", Namespace: "default"},
		}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

func TestInstallNeedsDefinitions(t *testing.T) {
	err := localoperator.Install(t.Context(), &rest.Config{Host: "http://127.0.0.1:1"}, fstest.MapFS{"rbac/a.yaml": {Data: []byte("kind: A")}})
	if err == nil || !strings.Contains(err.Error(), "crd/bases") {
		t.Fatalf("error %v, want one about crd/bases", err)
	}
}

func TestReadObjectsSkipsKustomizeAndEmptyDocuments(t *testing.T) {
	objects, err := localoperator.ReadObjects(fstest.MapFS{
		"dir/b.yaml":               {Data: []byte("# only a comment\n---\nkind: B\napiVersion: v1\nmetadata: {name: b}\n---\n")},
		"dir/a.yaml":               {Data: []byte("kind: A\napiVersion: v1\nmetadata: {name: a}\n")},
		"dir/kustomization.yaml":   {Data: []byte("kind: Kustomization\n")},
		"dir/kustomizeconfig.yaml": {Data: []byte("nameReference: []\n")},
		"dir/README.md":            {Data: []byte("words")},
		"dir/sub/c.yaml":           {Data: []byte("kind: C\napiVersion: v1\n")},
	}, "dir")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, object := range objects {
		names = append(names, object.GetName())
	}
	if got := strings.Join(names, " "); got != "a b" {
		t.Fatalf("read %q, want %q", got, "a b")
	}
}

// What is in force last must be written last, or waiting for it says nothing of the others.
func TestInstallWritesTheProbedPolicyLast(t *testing.T) {
	var objects []*unstructured.Unstructured
	for _, dir := range []string{"policies", "crd"} {
		found, err := localoperator.ReadObjects(config.FS, dir)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, found...)
	}
	localoperator.SortPolicies(objects)
	var order []string
	for _, object := range objects {
		order = append(order, object.GetKind()+"/"+object.GetName())
	}
	policies := slices.IndexFunc(order, func(name string) bool { return strings.HasPrefix(name, "ValidatingAdmissionPolicyBinding/") })
	if policies < 1 || order[policies-1] != "ValidatingAdmissionPolicy/scim-operator-definitions" ||
		order[len(order)-1] != "ValidatingAdmissionPolicyBinding/scim-operator-definitions" {
		t.Errorf("the order is %q, want all policies before all bindings and scim-operator-definitions last of both", order)
	}
	for _, name := range order[:policies] {
		if !slices.ContainsFunc(order[policies:], func(binding string) bool {
			return strings.HasPrefix(binding, "ValidatingAdmissionPolicyBinding/"+strings.TrimPrefix(name, "ValidatingAdmissionPolicy/"))
		}) {
			t.Errorf("%s has no binding", name)
		}
	}
}
