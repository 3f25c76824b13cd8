package plugin

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/internal/ownstatus"
	"github.com/scim-operator/scim-operator/internal/scheme"
)

// session is one run of the plugin: its streams, kubectl's flags, and the client that they make.
type session struct {
	console
	flags *genericclioptions.ConfigFlags

	kinds  *runtime.Scheme
	client client.Client
	// namespace is what the command works in: that of -n, else of the kubeconfig's context. All namespaces where all is set.
	namespace string
	all       bool
}

// fieldManager is recorded in the objects that the plugin writes.
const fieldManager = "kubectl-scim"

// connect makes the client. It fails where the kubeconfig cannot be read or the API server does not answer.
func (s *session) connect() error {
	if s.client != nil {
		return nil
	}
	config, err := s.flags.ToRESTConfig()
	if err != nil {
		return err
	}
	config = rest.CopyConfig(config)
	config.UserAgent = fieldManager
	config.QPS, config.Burst = 50, 100 // kubectl's own
	config.WarningHandler = rest.NewWarningWriter(s.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	if s.kinds, err = scheme.New(); err != nil {
		return err
	}
	if s.namespace, _, err = s.flags.ToRawKubeConfigLoader().Namespace(); err != nil {
		return err
	}
	direct, err := client.New(config, client.Options{Scheme: s.kinds})
	if err != nil {
		return err
	}
	// A field that the cluster's version does not know must not be dropped in silence: it may be what bounds a token.
	s.client = client.WithFieldValidation(client.WithFieldOwner(ownstatus.Client(direct), fieldManager), metav1.FieldValidationStrict)
	return nil
}

// within returns the namespace to list in, or "" for all.
func (s *session) within() client.InNamespace {
	if s.all {
		return client.InNamespace("")
	}
	return client.InNamespace(s.namespace)
}

// addAllNamespaces adds -A.
func (s *session) addAllNamespaces(command *cobra.Command) {
	command.Flags().BoolVarP(&s.all, "all-namespaces", "A", false, "look in all namespaces")
}

// run connects before the command's own work.
func (s *session) run(work func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		if err := s.connect(); err != nil {
			return err
		}
		return work(command.Context(), args)
	}
}

// pageSize bounds the objects of one answer of the API server.
const pageSize = 500

// each lists page by page and calls visit for each page, so that a large directory is not held as a whole. The list is
// visit's until it returns. Errors are the API server's and visit's.
func (s *session) each(ctx context.Context, list client.ObjectList, visit func() error, options ...client.ListOption) error {
	for next := ""; ; {
		page := append([]client.ListOption{client.Limit(pageSize), client.Continue(next)}, options...)
		if err := s.client.List(ctx, list, page...); err != nil {
			return err
		}
		if err := visit(); err != nil {
			return err
		}
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}

// count counts objects without their contents.
func (s *session) count(ctx context.Context, kind string, options ...client.ListOption) (total int, err error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(gvk(kind + "List"))
	err = s.each(ctx, list, func() error {
		total += len(list.Items)
		list.Items = nil
		return nil
	}, options...)
	return total, err
}

// patchSpec sets fields of an object's spec. It holds for this very object, by its UID, in whatever state it is by now: status
// is written all the time. Errors are the API server's.
func (s *session) patchSpec(ctx context.Context, object client.Object, fields map[string]any, options ...client.PatchOption) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": object.GetUID()}, "spec": fields})
	if err != nil {
		return err
	}
	return s.client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch), options...)
}

// await reads an object until its status is settled, and says whether that was within the limit. Errors are the API server's, and the
// end of ctx.
func (s *session) await(ctx context.Context, object client.Object, limit time.Duration, settled func() bool) (bool, error) {
	// With the deadline of the wait, a request that comes shortly before it would fail instead of being the last one.
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, limit, true, func(context.Context) (bool, error) {
		if err := s.client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return false, err
		}
		return settled(), nil
	})
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case !wait.Interrupted(err):
		return false, err
	}
	return false, nil
}

// bare returns the name of an object that may be given as kubectl prints it with -o name: user.scim-operator.io/jane-….
func bare(name string) string {
	if kind, rest, found := strings.Cut(name, "/"); found && !strings.Contains(kind, "@") {
		return rest
	}
	return name
}
