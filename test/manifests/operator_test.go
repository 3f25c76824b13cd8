package manifests_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// operator runs what an installation's two Deployments would.
type operator struct {
	*cluster
	namespace string
	// server and controller are the names of the Deployments.
	server, controller string
	// bindsRole tells that the installation itself lets the controller bind the role of the App.
	bindsRole bool
	log       harness.Log
	scim      *localoperator.Process
	// manager is the controller's process.
	manager *localoperator.Process
}

// run starts both processes by the arguments of their Deployments and the tokens of their ServiceAccounts.
func (o *operator) run(t *testing.T, binary string) {
	t.Helper()
	o.scim = o.start(t, binary, o.server, localoperator.StartServer)
	o.manager = o.start(t, binary, o.controller, localoperator.StartController)
	o.findsItsPolicies(t)
}

// findsItsPolicies: under whatever names, the controller may read each policy and binding, and finds that of its own version.
func (o *operator) findsItsPolicies(t *testing.T) {
	t.Helper()
	harness.Eventually(t, patience, "the policies in the metrics", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.manager.MetricsURL+"/metrics", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		shown := regexp.MustCompile(`scim_operator_admission_policies\{state="(\w+)"\} (\d+)`).FindAllStringSubmatch(string(text), -1)
		if len(shown) == 0 {
			return fmt.Errorf("there is no such metric yet")
		}
		for _, series := range shown {
			if (series[1] == "in_place") != (series[2] != "0") {
				return fmt.Errorf("%s policies and bindings are %s", series[2], series[1])
			}
		}
		return nil
	})
}

func (o *operator) start(t *testing.T, binary, deployment string,
	start func(context.Context, localoperator.ProcessOptions) (*localoperator.Process, error)) *localoperator.Process {
	t.Helper()
	account, arguments := o.podOf(t, deployment)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, localoperator.ServiceAccountKubeconfig(t.Context(), o.Config, o.namespace, account, kubeconfig))
	process, err := start(t.Context(), localoperator.ProcessOptions{
		Binary: binary, Kubeconfig: kubeconfig, LeaderElect: true, Log: &o.log, Args: arguments[1:],
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, o.log.String())
	}
	harness.StopAtEnd(t, process)
	return process
}

// podOf returns the ServiceAccount and the arguments of the Deployment's container, variables replaced as the kubelet does.
func (o *operator) podOf(t *testing.T, deployment string) (account string, arguments []string) {
	t.Helper()
	object := &appsv1.Deployment{}
	must(t, o.admin.Get(t.Context(), client.ObjectKey{Namespace: o.namespace, Name: deployment}, object))
	pod := object.Spec.Template.Spec
	variables := []string{}
	for _, variable := range pod.Containers[0].Env {
		if variable.ValueFrom != nil && variable.ValueFrom.FieldRef != nil && variable.ValueFrom.FieldRef.FieldPath == "metadata.namespace" {
			variables = append(variables, "$("+variable.Name+")", o.namespace)
		}
	}
	for _, argument := range pod.Containers[0].Args {
		arguments = append(arguments, strings.NewReplacer(variables...).Replace(argument))
	}
	return pod.ServiceAccountName, arguments
}

// account is the user name of a ServiceAccount in the operator's namespace.
func (o *operator) account(name string) string {
	return "system:serviceaccount:" + o.namespace + ":" + name
}

const (
	appNamespace = "people"
	appName      = "demo"
	boundRole    = "demo-developer"
	jane         = "okta:jane@example.com"
)

// openApp installs an App that grants a role in its namespace and denies the requests of leavers, and returns a client with
// a token of it.
func (o *operator) openApp(t *testing.T) *okta.Client {
	t.Helper()
	text, err := token.New()
	must(t, err)
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: o.namespace, Name: o.controller}}
	if o.bindsRole {
		subjects = nil
	}
	bind := metav1.ObjectMeta{Name: "demo-bindable"}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: appNamespace}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: boundRole}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
		}},
		&rbacv1.ClusterRole{ObjectMeta: bind, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{boundRole}, Verbs: []string{"bind"},
		}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: bind, Subjects: subjects, RoleRef: rbacv1.RoleRef{
			APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: bind.Name,
		}},
		&v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: appNamespace, Name: appName}, Spec: v1alpha1.AppSpec{
			RoleAssignment: v1alpha1.RoleAssignment{Default: []string{"developer"}},
			Roles:          []v1alpha1.Role{{Name: "developer", Grants: []v1alpha1.Grant{{ClusterRole: boundRole}}}},
			Deactivation:   v1alpha1.Deactivation{DenyRequests: true},
			Tokens:         []v1alpha1.AcceptedToken{{Name: appName, Digest: token.Digest(text)}},
		}},
		&v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: appNamespace, Name: appName}, Spec: v1alpha1.ScimTokenSpec{
			App: appName, Digest: token.Digest(text),
		}},
	}
	// No second try: no policy that asks about these has a parameter of a kind that the API server has yet to discover.
	for _, object := range objects {
		must(t, client.IgnoreAlreadyExists(o.admin.Create(t.Context(), object)))
	}
	scim := okta.New(o.scim.URL+"/scim/v2", "Bearer "+text, okta.AppWizard)
	scim.Retries = 10
	t.Cleanup(scim.Close)
	harness.Eventually(t, patience, "the token opens the App", func(ctx context.Context) error {
		exchange, err := scim.Do(ctx, http.MethodGet, "/Users?startIndex=1&count=2", nil)
		if err != nil {
			return err
		}
		return exchange.ExpectStatus(http.StatusOK)
	})
	return scim
}

// listsPods asks the API server whether a user may list the Pods of the App's namespace.
func (c *cluster) listsPods(ctx context.Context, user string) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: appNamespace, Verb: "list", Resource: "pods"},
	}}
	err := c.admin.Create(ctx, review)
	return review.Status.Allowed, err
}

// provisions plays a person's assignment and deactivation through the whole operator: the server's and the controller's
// writes pass every policy, the leader holds its Lease, the list of revoked people is where the policy looks.
func (o *operator) provisions(t *testing.T, scim *okta.Client) {
	t.Helper()
	person := okta.Assign(okta.NewProfile("jane@example.com"))
	if _, err := scim.AssignUser(t.Context(), person); err != nil {
		t.Fatalf("assign: %v\n%s", err, o.log.String())
	}
	harness.Eventually(t, patience, "the granted role", func(ctx context.Context) error {
		allowed, err := o.listsPods(ctx, jane)
		if err == nil && !allowed {
			err = fmt.Errorf("%s may not list Pods", jane)
		}
		return err
	})
	if _, err := scim.Deactivate(t.Context(), person); err != nil {
		t.Fatalf("deactivate: %v\n%s", err, o.log.String())
	}
	harness.Eventually(t, patience, "the end of the role", func(ctx context.Context) error {
		allowed, err := o.listsPods(ctx, jane)
		if err == nil && allowed {
			err = fmt.Errorf("%s may still list Pods", jane)
		}
		return err
	})
	o.deniesRequests(t)
}

// deniesRequests shows that the policy on revoked people reads the list in the operator's namespace: a right that another
// binding gives is of no use.
func (o *operator) deniesRequests(t *testing.T) {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: appNamespace, Name: "by-hand"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: jane}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit-by-hand"},
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "edit-by-hand"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"create"}},
	}}
	must(t, o.admin.Create(t.Context(), role))
	must(t, o.admin.Create(t.Context(), binding))
	person := o.as(t, jane)
	harness.Eventually(t, patience, "the denial of a revoked person's requests", func(ctx context.Context) error {
		err := client.NewDryRunClient(person).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: appNamespace, Name: "x"}})
		if err == nil || !strings.Contains(err.Error(), "was revoked") {
			return fmt.Errorf("answered with error %w", err)
		}
		return nil
	})
}
