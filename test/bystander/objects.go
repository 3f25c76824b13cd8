package bystander

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// Objects is what a tenant does with objects of its own namespace, past the SCIM server: all of it is a right of a namespace's administrator.
type Objects struct{ *Tenant }

// again is an attack that does one thing again and again, so long apart. That an object is gone, or has changed meanwhile, ends nothing.
func again(apart time.Duration, once func(ctx context.Context, i int) error) Attack {
	return func(ctx context.Context) error {
		for i := 0; ctx.Err() == nil; i++ {
			err := once(ctx, i)
			if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("step %d: %w", i, err)
			}
			sleep(ctx, apart)
		}
		return nil
	}
}

// ManyTokens makes 50 ScimTokens a second.
func (t Objects) ManyTokens() Attack {
	return again(20*time.Millisecond, func(ctx context.Context, i int) error {
		return t.Admin.Create(ctx, &v1alpha1.ScimToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, GenerateName: "many-"},
			Spec:       v1alpha1.ScimTokenSpec{App: t.App.Name, Digest: token.Digest(fmt.Sprint(t.Namespace, i))},
		})
	})
}

// ManyApps makes 20 Apps a second.
func (t Objects) ManyApps() Attack {
	return again(50*time.Millisecond, func(ctx context.Context, i int) error {
		app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: fmt.Sprint("many-", i)}, Spec: *t.App.Spec.DeepCopy()}
		app.Spec.Tokens = nil
		return t.Admin.Create(ctx, app)
	})
}

// AppMadeAnew deletes the App twice a second, and makes it again.
func (t Objects) AppMadeAnew() Attack {
	return again(500*time.Millisecond, func(ctx context.Context, _ int) error {
		if err := t.Admin.Delete(ctx, t.App.DeepCopy()); client.IgnoreNotFound(err) != nil {
			return err
		}
		return t.Admin.Create(ctx, &v1alpha1.App{
			ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: t.App.Name}, Spec: *t.App.Spec.DeepCopy(),
		})
	})
}

// HugeAnnotations writes an annotation of 200 KB to the App, five times a second.
func (t Objects) HugeAnnotations() Attack {
	return again(editEvery, func(ctx context.Context, i int) error {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"huge":%q}}}`, strings.Repeat(string(rune('a'+i%26)), 200_000))
		return t.Admin.Patch(ctx, t.App.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch)))
	})
}

// RotatedSecrets changes ten times a second the Secret that a ScimToken refers to.
func (t Objects) RotatedSecrets() Attack {
	return again(100*time.Millisecond, func(ctx context.Context, i int) error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: "rotated", Labels: map[string]string{"scim-operator.io/token": "true"}}}
		text, err := token.New()
		if err != nil {
			return err
		}
		secret.StringData = map[string]string{"token": text}
		if i > 0 {
			return t.Admin.Update(ctx, secret)
		}
		return t.Admin.Create(ctx, &v1alpha1.ScimToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: "rotated"},
			Spec:       v1alpha1.ScimTokenSpec{App: t.App.Name, SecretRef: &v1alpha1.SecretKeyReference{Name: secret.Name}},
		})
	})
}

// SuspendedUsers suspends users of Fill, and brings them back, 20 times a second.
func (t Objects) SuspendedUsers() Attack {
	ids := t.people()
	return again(50*time.Millisecond, func(ctx context.Context, i int) error {
		user := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: ids[i%len(ids)]}}
		patch := fmt.Sprintf(`{"spec":{"suspended":%t}}`, i/len(ids)%2 == 0)
		return t.Admin.Patch(ctx, user, client.RawPatch("application/merge-patch+json", []byte(patch)))
	})
}

// DeletedBindings deletes the App's bindings ten times a second, whatever puts them back.
func (t Objects) DeletedBindings() Attack {
	return again(100*time.Millisecond, func(ctx context.Context, i int) error {
		if i%2 == 0 {
			return t.Admin.DeleteAllOf(ctx, &rbacv1.RoleBinding{}, client.InNamespace(t.Namespace))
		}
		return t.Admin.DeleteAllOf(ctx, &v1alpha1.AppRoleBinding{}, client.InNamespace(t.Namespace))
	})
}

// NamespaceLabels labels the tenant's namespace five times a second, so that it enters 256 scopes of the App, and leaves them.
func (t Objects) NamespaceLabels() Attack {
	label := again(editEvery, func(ctx context.Context, i int) error {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: t.Namespace}}
		patch := fmt.Sprintf(`{"metadata":{"labels":{"attack":"%d"}}}`, i%2)
		return t.Admin.Patch(ctx, namespace, client.RawPatch("application/merge-patch+json", []byte(patch)))
	})
	return func(ctx context.Context) error {
		err := t.edit(ctx, func(spec *v1alpha1.AppSpec) {
			spec.Scopes.List = nil
			for i := range 256 {
				spec.Scopes.List = append(spec.Scopes.List, v1alpha1.Scope{
					Name: fmt.Sprint("scope-", i), NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"attack": "1"}},
				})
			}
		})
		if err != nil {
			return err
		}
		return label(ctx)
	}
}

// FlippingRule has each user gain a role and lose it.
func FlippingRule(i int, _ string, spec *v1alpha1.AppSpec) {
	spec.Roles = spec.Roles[:1]
	spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "flips", Grants: spec.Roles[0].Grants, When: fmt.Sprint(i%2 == 0)})
}

// FlippingMode has the App bind, and then only observe.
func FlippingMode(i int, _ string, spec *v1alpha1.AppSpec) {
	spec.Mode = []string{v1alpha1.ModeEnforce, v1alpha1.ModeObserve}[i%2]
}

// EndsAtOnce has the role of all users end in the same second, again and again.
func EndsAtOnce(_ int, _ string, spec *v1alpha1.AppSpec) {
	if until := spec.Roles[0].Until; until == nil || time.Since(until.Time) > time.Second {
		spec.Roles[0].Until = &metav1.Time{Time: time.Now().Add(2 * time.Second).Truncate(time.Second)}
	}
}

// FlippingPrefix gives the users other Kubernetes names.
func FlippingPrefix(i int, namespace string, spec *v1alpha1.AppSpec) {
	prefix := fmt.Sprintf("%s:%d:", namespace, i%2)
	spec.Kubernetes.UsernamePrefix = &prefix
}

// FlippingDenials has requests of the App's leavers denied, and then not.
func FlippingDenials(i int, _ string, spec *v1alpha1.AppSpec) {
	spec.Deactivation.DenyRequests = i%2 == 0
}

// GroupsOfOne post groups with the same member.
func (t *Tenant) GroupsOfOne(clients int) Attack {
	member := t.people()[0]
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		return http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":[%q],"displayName":"of one %d","members":[{"value":%q}]}`, okta.SchemaGroup, i, member)
	})
}

// LongNames post users with ten attributes, each with a name of 10 KB.
func (t *Tenant) LongNames(clients int) Attack {
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(i int) (method, path, body string) {
		var b strings.Builder
		for n := range 10 {
			fmt.Fprintf(&b, `,"%s%d":"x"`, strings.Repeat("n", 10_000), n)
		}
		return http.MethodPost, "/Users", fmt.Sprintf(`{"schemas":[%q],"userName":"names.%d@example.com","active":true%s}`, okta.SchemaUser, i, b.String())
	})
}

// LongFilters ask by a filter of hundreds of comparisons, none of which an index answers.
func (t *Tenant) LongFilters(clients int) Attack {
	var terms []string
	for i := range 400 {
		terms = append(terms, fmt.Sprintf(`title co "%d" or nickName ew "%d"`, i, i))
	}
	filter := okta.Escape(strings.Join(terms, " or "))
	return t.repeat(clients, "/scim/v2", "Bearer "+t.Token, func(int) (method, path, body string) {
		return http.MethodGet, "/Users?count=1000&filter=" + filter, ""
	})
}
