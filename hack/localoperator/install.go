package localoperator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// Namespace is where the operator's ServiceAccounts live.
	Namespace = "scim-operator-system"
	// ServerAccount is the ServiceAccount of the SCIM server.
	ServerAccount = "scim-operator-server"
	// ControllerAccount is the ServiceAccount of the controller.
	ControllerAccount = "scim-operator-controller"

	fieldOwner = client.FieldOwner("scim-operator-dev")
	// settleTimeout bounds how long the API server may take to serve what it has accepted.
	settleTimeout = 90 * time.Second
	settlePoll    = 50 * time.Millisecond
)

// installDirs are the folders of config/ that make an installation, without its Deployments. The
// last two hold admission policies only.
var installDirs = []string{"crd/bases", "rbac", policiesDir, guardDir}

// kustomizeFiles are read by kustomize and hold no object.
var kustomizeFiles = []string{"kustomization.yaml", "kustomizeconfig.yaml"}

// Install applies what `kubectl apply -k` of config/ would, but for the Deployments: CRDs, the namespace, RBAC, and
// admission policies where there are any. Folders that the file system lacks are passed over, except for the CRDs. It
// returns when the CRDs are served and the policies are in force. It fails where a file cannot be read, the API server
// refuses an object, or ctx ends before that.
func Install(ctx context.Context, config *rest.Config, manifests fs.FS) error {
	var objects, policies []*unstructured.Unstructured
	for _, dir := range installDirs {
		found, err := ReadObjects(manifests, dir)
		if errors.Is(err, fs.ErrNotExist) && dir != installDirs[0] {
			continue
		}
		if err != nil {
			return fmt.Errorf("installing: %w", err)
		}
		if dir == policiesDir || dir == guardDir {
			policies = append(policies, found...)
			continue
		}
		objects = append(objects, found...)
	}
	sortPolicies(policies)
	objects = append(objects, policies...)
	if err := Apply(ctx, config, objects); err != nil {
		return fmt.Errorf("installing: %w", err)
	}
	if !slices.ContainsFunc(policies, func(object *unstructured.Unstructured) bool { return object.GetName() == lastPolicy }) {
		return nil
	}
	if err := WaitForPolicies(ctx, config); err != nil {
		return fmt.Errorf("installing: %w", err)
	}
	return nil
}

// ReadObjects decodes all YAML documents in the files of one folder, in the order of the files' names. Kustomize's own files
// are left out. It fails where the folder is missing or a file is no YAML.
func ReadObjects(manifests fs.FS, dir string) ([]*unstructured.Unstructured, error) {
	entries, err := fs.ReadDir(manifests, dir)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, entry := range entries {
		extension := path.Ext(entry.Name())
		if entry.IsDir() || extension != ".yaml" && extension != ".yml" || slices.Contains(kustomizeFiles, entry.Name()) {
			continue
		}
		data, err := fs.ReadFile(manifests, path.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		found, err := decodeObjects(data)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir, entry.Name(), err)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

func decodeObjects(data []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 { // a document of comments only is empty
			objects = append(objects, object)
		}
	}
}

// Apply puts the objects onto the API server by server-side apply: namespaces first, then CRDs, which it waits for, then the
// rest in the order given. It takes over fields of other field managers. It stops at the first error of the API server.
func Apply(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) error {
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	waited := false
	for i, object := range objects {
		if !waited && rank(object) > rankDefinition {
			if err := waitForDefinitions(ctx, c, objects[:i]); err != nil {
				return err
			}
			waited = true
		}
		if err := applyOne(ctx, c, object); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), strings.TrimPrefix(object.GetNamespace()+"/"+object.GetName(), "/"), err)
		}
	}
	if !waited {
		return waitForDefinitions(ctx, c, objects)
	}
	return nil
}

const (
	rankNamespace = iota
	rankDefinition
	rankOther
)

func rank(object *unstructured.Unstructured) int {
	switch object.GetKind() {
	case "Namespace":
		return rankNamespace
	case "CustomResourceDefinition":
		return rankDefinition
	default:
		return rankOther
	}
}

// applyOne tries again while the kind is unknown: discovery follows a new CRD with a delay.
func applyOne(ctx context.Context, c client.Client, object *unstructured.Unstructured) error {
	var lastError error
	err := wait.PollUntilContextTimeout(ctx, settlePoll, settleTimeout, true, func(ctx context.Context) (bool, error) {
		lastError = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object.DeepCopy()), fieldOwner, client.ForceOwnership)
		if meta.IsNoMatchError(lastError) {
			return false, nil
		}
		return true, lastError
	})
	if lastError != nil {
		return lastError
	}
	return err
}

// waitForDefinitions waits until each CRD among the objects is served.
func waitForDefinitions(ctx context.Context, c client.Client, objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		if rank(object) != rankDefinition {
			continue
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		err := wait.PollUntilContextTimeout(ctx, settlePoll, settleTimeout, true, func(ctx context.Context) (bool, error) {
			if err := c.Get(ctx, client.ObjectKeyFromObject(object), definition); err != nil {
				return false, err
			}
			return isEstablished(definition), nil
		})
		if err != nil {
			return fmt.Errorf("waiting for CustomResourceDefinition %s: %w (conditions %v)", object.GetName(), err, definition.Status.Conditions)
		}
	}
	return nil
}

func isEstablished(definition *apiextensionsv1.CustomResourceDefinition) bool {
	for _, condition := range definition.Status.Conditions {
		if condition.Type == apiextensionsv1.Established {
			return condition.Status == apiextensionsv1.ConditionTrue
		}
	}
	return false
}
