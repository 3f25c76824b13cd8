package security_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/token"
	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// newToken is a ScimToken of an App whose token the test knows.
func (n *tenant) newToken(t testing.TB, app, name string) (object *v1alpha1.ScimToken, text string) {
	t.Helper()
	text, err := token.New()
	must(t, err)
	return &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name},
		Spec:       v1alpha1.ScimTokenSpec{App: app, Digest: token.Digest(text)},
	}, text
}

// refusedSoon waits until a policy refuses a dry run: admission knows of an object that is a policy's parameter some
// milliseconds after it was created.
func (n *tenant) refusedSoon(t *testing.T, policy string, try func(context.Context) error) {
	t.Helper()
	harness.Eventually(t, patience, "a refusal by "+policy, func(ctx context.Context) error {
		err := try(ctx)
		if apierrors.IsForbidden(err) {
			return nil
		}
		return fmt.Errorf("not forbidden: %w", errors.Join(errors.New("the request went through or failed otherwise"), err))
	})
}

// Whoever holds a token of an App can put anybody into its roles.
func TestTokenNeedsWhatItsAppGrants(t *testing.T) {
	n := newTenant(t)
	own, root := n.newApp("own"), n.rootApp(t, "root")
	must(t, n.client.Create(t.Context(), own))

	legitimate, _ := n.newToken(t, own.Name, "legitimate")
	must(t, n.client.Create(t.Context(), legitimate))
	stolen, _ := n.newToken(t, root.Name, "stolen")
	n.refusedSoon(t, grantsPolicy, func(ctx context.Context) error {
		return client.NewDryRunClient(n.client).Create(ctx, stolen.DeepCopy())
	})
	refusedBy(t, n.client.Create(t.Context(), stolen.DeepCopy()), grantsPolicy, "spec.app: App root", "cluster-admin", `"bind"`)
	generated := stolen.DeepCopy()
	generated.Spec.Digest, generated.Spec.Generate = "", &v1alpha1.GenerateToken{SecretName: "stolen"}
	refusedBy(t, n.client.Create(t.Context(), generated), grantsPolicy, "cluster-admin")

	t.Run("turned to another App", func(t *testing.T) {
		refusedBy(t, n.client.Patch(t.Context(), legitimate.DeepCopy(), mergePatch(`{"spec":{"app":"root"}}`)), grantsPolicy, "App root")
	})
	t.Run("of the App's own administrator", func(t *testing.T) {
		theirs, _ := n.newToken(t, root.Name, "theirs")
		must(t, n.admin.Create(t.Context(), theirs))
		digest := `{"digest":"` + token.Digest("mine") + `"}`
		refusedBy(t, n.client.Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"spec":`+digest+`}`)), grantsPolicy, "App root")
		refusedBy(t, n.client.Status().Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"status":`+digest+`}`)), writersPolicy, "status of scimtokens")
		must(t, n.client.Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"metadata":{"annotations":{"example.com/note":"seen"}}}`)))
		// Whoever finds a leak must be able to stop it, and not to start it again.
		must(t, n.client.Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"spec":{"suspended":true}}`)))
		refusedBy(t, n.client.Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"spec":{"suspended":false}}`)), grantsPolicy, "App root")
		must(t, n.client.Delete(t.Context(), theirs))
	})
	t.Run("status of one's own", func(t *testing.T) {
		refusedBy(t, n.client.Status().Patch(t.Context(), legitimate.DeepCopy(), mergePatch(`{"status":{"digest":"`+token.Digest("x")+`"}}`)), writersPolicy)
	})
	n.reachesNothing(t)
}

// A token that lies in wait for an App is found when the App is made.
func TestTokenThatWaitsForItsApp(t *testing.T) {
	n := newTenant(t)
	waiting, _ := n.newToken(t, "root", "waiting")
	must(t, n.client.Create(t.Context(), waiting))
	app := n.newApp("root")
	app.Spec.Roles[0].Grants[0].ClusterRole = "cluster-admin"
	n.refusedSoon(t, tokensPolicy, func(ctx context.Context) error { return client.NewDryRunClient(n.admin).Create(ctx, app.DeepCopy()) })
	refusedBy(t, n.admin.Create(t.Context(), app.DeepCopy()), tokensPolicy, "ScimToken waiting names App root", v1alpha1.AnnotationAcceptTokens)
	must(t, n.admin.Create(t.Context(), n.newApp("other")))

	app.Annotations = map[string]string{v1alpha1.AnnotationAcceptTokens: "true"}
	must(t, n.admin.Create(t.Context(), app))
}
