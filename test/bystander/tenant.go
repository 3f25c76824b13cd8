package bystander

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

const (
	// viewer is a ClusterRole of the quickstart sample, which the controller may bind.
	viewer = "quickstart-viewer"
	// setupTimeout bounds each wait while nothing is measured.
	setupTimeout = 60 * time.Second
	pollInterval = 10 * time.Millisecond
	appName      = "isolated"
)

// Tenant is a namespace with one App and a client that holds its token.
type Tenant struct {
	// URL is the SCIM server's root, without a path.
	URL string
	// Admin is the cluster administrator's client.
	Admin     client.Client
	Namespace string
	App       *v1alpha1.App
	// Token opens the App.
	Token string
	SCIM  *okta.Client

	serial int

	mutex sync.Mutex
	// filled are the ids of the users that Fill has created.
	filled []string
	// answers count what the server answered to attacks, by status.
	answers map[int]int
}

// Answers returns how many requests of this tenant's attacks were answered so far, by status.
func (t *Tenant) Answers() map[int]int {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return maps.Clone(t.answers)
}

func (t *Tenant) answered(status int) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.answers == nil {
		t.answers = map[int]int{}
	}
	t.answers[status]++
}

// NewTenant makes a namespace, an App that gives all its users one role in that namespace, and a token, and returns when the
// server accepts the token. change may be nil; it edits the App before it is written. It fails where that takes longer than
// a minute.
func NewTenant(ctx context.Context, url string, admin client.Client, change func(*v1alpha1.AppSpec)) (*Tenant, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "isolation-"}}
	if err := admin.Create(ctx, namespace); err != nil {
		return nil, err
	}
	t := &Tenant{URL: url, Admin: admin, Namespace: namespace.Name}
	prefix := t.Namespace + ":"
	t.App = &v1alpha1.App{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: appName},
		Spec: v1alpha1.AppSpec{
			Kubernetes:     v1alpha1.KubernetesMapping{UsernamePrefix: &prefix, GroupPrefix: &prefix},
			RoleAssignment: v1alpha1.RoleAssignment{Default: []string{"viewer"}},
			Roles:          []v1alpha1.Role{{Name: "viewer", Grants: []v1alpha1.Grant{{ClusterRole: viewer}}}},
		},
	}
	if change != nil {
		change(&t.App.Spec)
	}
	if err := admin.Create(ctx, t.App); err != nil {
		return nil, err
	}
	text, _, err := t.NewToken(ctx)
	if err != nil {
		return nil, err
	}
	t.Token, t.SCIM = text, t.client(text)
	return t, t.accepted(ctx, t.SCIM, true, setupTimeout)
}

// NewToken makes one more ScimToken that the App accepts. It does not wait until the server accepts it. Errors are the API
// server's.
func (t *Tenant) NewToken(ctx context.Context) (text string, object *v1alpha1.ScimToken, err error) {
	if text, err = token.New(); err != nil {
		return "", nil, err
	}
	object = &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, GenerateName: "token-"},
		Spec:       v1alpha1.ScimTokenSpec{App: t.App.Name, Digest: token.Digest(text)},
	}
	if err := t.Admin.Create(ctx, object); err != nil {
		return "", nil, err
	}
	return text, object, localoperator.AcceptToken(ctx, t.Admin, object)
}

func (t *Tenant) client(text string) *okta.Client {
	return okta.New(t.URL+"/scim/v2", "Bearer "+text, okta.AppWizard)
}

// accepted waits until the server takes the client's token, or refuses it with 401.
func (t *Tenant) accepted(ctx context.Context, scim *okta.Client, want bool, limit time.Duration) error {
	status := http.StatusOK
	if !want {
		status = http.StatusUnauthorized
	}
	return t.poll(ctx, limit, fmt.Sprintf("an answer %d to the token", status), func(ctx context.Context) error {
		answer, err := scim.Do(ctx, http.MethodGet, "/ServiceProviderConfig", nil)
		if err == nil && answer.Status != status {
			err = fmt.Errorf("answered %d", answer.Status)
		}
		return err
	})
}

// poll calls check until it returns nil; beyond the limit it fails with check's last error.
func (t *Tenant) poll(ctx context.Context, limit time.Duration, what string, check func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, limit, true, func(ctx context.Context) (bool, error) {
		if err := check(ctx); err == nil {
			return true, nil
		} else if ctx.Err() == nil || last == nil { // not what the limit itself cut off
			last = err
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("%s: not within %s: %w", what, limit, last)
	}
	return nil
}

// subject is the Kubernetes name of a userName.
func (t *Tenant) subject(userName string) string { return t.App.Spec.Kubernetes.Prefix() + userName }
