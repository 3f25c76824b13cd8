package security_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// newToken is a ScimToken of an App, with a token that the test knows.
func (n *tenant) newToken(t testing.TB, app, name string) (object *v1alpha1.ScimToken, text string) {
	t.Helper()
	text, err := token.New()
	must(t, err)
	return &v1alpha1.ScimToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name},
		Spec:       v1alpha1.ScimTokenSpec{App: app, Digest: token.Digest(text)},
	}, text
}

// accepting is the entry of an App that accepts a ScimToken.
func accepting(object *v1alpha1.ScimToken) v1alpha1.AcceptedToken {
	return v1alpha1.AcceptedToken{Name: object.Name, Digest: object.Spec.Digest}
}

// tokenSoon waits until the controller says why a token does not open its App, or that it does.
func tokenSoon(t testing.TB, object *v1alpha1.ScimToken, reason string) metav1.Condition {
	t.Helper()
	var found metav1.Condition
	harness.Eventually(t, patience, "reason "+reason+" of ScimToken "+object.Name, func(ctx context.Context) error {
		if err := operator.Env.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		accepted := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionAccepted)
		if accepted == nil || accepted.Reason != reason || accepted.ObservedGeneration != object.Generation {
			return fmt.Errorf("condition %+v", accepted)
		}
		found = *accepted
		return nil
	})
	return found
}

// answers is what the server answers a token now.
func (n *tenant) answers(t testing.TB, text, path string) int {
	t.Helper()
	scim := operator.Client(operator.Server, path, harness.App{Token: text}, okta.AppWizard)
	defer scim.Close()
	// Attacks on the same server may leave it no connection for a moment: that is not what is asked here.
	var status int
	harness.Eventually(t, patience, "an answer", func(ctx context.Context) error {
		answer, err := scim.Do(ctx, http.MethodGet, "/Users?count=1", nil)
		if err == nil {
			status = answer.Status
		}
		return err
	})
	return status
}

// answersSoon waits for an answer's status.
func (n *tenant) answersSoon(t testing.TB, text string, want int) {
	t.Helper()
	harness.Eventually(t, patience, fmt.Sprintf("an answer %d", want), func(context.Context) error {
		if got := n.answers(t, text, "/scim/v2"); got != want {
			return fmt.Errorf("answered %d", got)
		}
		return nil
	})
}

// A client with a token of an App can put any user into its roles: a token opens an App by the will of its author.
func TestTokenIsAcceptedByTheAppsAuthor(t *testing.T) {
	n := newTenant(t)
	root := n.rootApp(t, "root")
	stolen, text := n.newToken(t, root.Name, "stolen")
	must(t, n.client.Create(t.Context(), stolen))
	generated := &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "generated"}}
	generated.Spec = v1alpha1.ScimTokenSpec{App: root.Name, Generate: &v1alpha1.GenerateToken{SecretName: "generated"}}
	must(t, n.client.Create(t.Context(), generated))
	told := tokenSoon(t, stolen, v1alpha1.ReasonNotAccepted)
	if !strings.Contains(told.Message, "- name: stolen\n  digest: "+stolen.Spec.Digest) {
		t.Errorf("the condition lacks the lines to add: %q", told.Message)
	}
	tokenSoon(t, generated, v1alpha1.ReasonNotAccepted)

	add := func(entries ...v1alpha1.AcceptedToken) error {
		before := root.DeepCopy()
		changed := root.DeepCopy()
		changed.Spec.Tokens = entries
		return n.client.Patch(t.Context(), changed, client.MergeFrom(before))
	}
	refusedBy(t, add(accepting(stolen)), grantsPolicy, "cluster-admin", `"bind"`)
	refusedBy(t, add(v1alpha1.AcceptedToken{Name: "generated"}), grantsPolicy, "cluster-admin")

	t.Run("of the App's author", func(t *testing.T) {
		theirs, secret := n.newToken(t, root.Name, "theirs")
		must(t, n.admin.Create(t.Context(), theirs))
		must(t, operator.Env.AcceptToken(t.Context(), theirs))
		must(t, n.admin.Get(t.Context(), client.ObjectKeyFromObject(root), root))
		tokenSoon(t, theirs, v1alpha1.ReasonValid)
		n.answersSoon(t, secret, http.StatusOK)

		// Another digest, and another Secret, under the name that is listed.
		mine := token.Digest(text)
		must(t, n.client.Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"spec":{"digest":"`+mine+`"}}`)))
		tokenSoon(t, theirs, v1alpha1.ReasonNotAccepted)
		must(t, n.client.Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"spec":{"digest":null,"generate":{"secretName":"theirs"}}}`)))
		tokenSoon(t, theirs, v1alpha1.ReasonNotAccepted)
		refusedBy(t, add(v1alpha1.AcceptedToken{Name: "theirs"}), grantsPolicy, "cluster-admin")
		refusedBy(t, add(accepting(&v1alpha1.ScimToken{ObjectMeta: theirs.ObjectMeta, Spec: stolen.Spec})), grantsPolicy, "cluster-admin")
		refusedBy(t, n.client.Status().Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"status":{"digest":"`+mine+`"}}`)), writersPolicy, "status of scimtokens")

		// The scopes of an entry are the author's, too.
		narrow := accepting(theirs)
		narrow.Scopes = []v1alpha1.TokenScope{v1alpha1.TokenScopeRead}
		wide := root.DeepCopy()
		wide.Spec.Tokens = []v1alpha1.AcceptedToken{narrow}
		must(t, n.admin.Patch(t.Context(), wide, client.MergeFrom(root.DeepCopy())))
		must(t, n.admin.Get(t.Context(), client.ObjectKeyFromObject(root), root))
		narrow.Scopes = []v1alpha1.TokenScope{v1alpha1.TokenScopeRead, v1alpha1.TokenScopeUsers}
		refusedBy(t, add(narrow), grantsPolicy, "cluster-admin")
		narrow.Scopes = nil
		refusedBy(t, add(narrow), grantsPolicy, "cluster-admin")

		// An account that finds a leak can end the token for good, and not begin it again.
		must(t, add())
		must(t, n.admin.Get(t.Context(), client.ObjectKeyFromObject(root), root))
		refusedBy(t, add(v1alpha1.AcceptedToken{Name: "theirs", Digest: token.Digest(secret)}), grantsPolicy, "cluster-admin")
	})
	if got := n.answers(t, text, "/scim/v2"); got != http.StatusUnauthorized {
		t.Errorf("the stolen token is answered %d", got)
	}
	n.reachesNothing(t)
}

// A token that is made while its App is: 300 rounds, of which admission's copy of the Apps lost some.
func TestTokenThatRacesItsApp(t *testing.T) {
	const rounds = 300
	n := newTenant(t)
	tokens, texts := make([]*v1alpha1.ScimToken, rounds), make([]string, rounds)
	var pairs errgroup.Group
	pairs.SetLimit(8)
	for i := range rounds {
		name := fmt.Sprintf("root-%d", i)
		tokens[i], texts[i] = n.newToken(t, name, name)
		app := n.newApp(name)
		app.Spec.Roles[0].Grants[0].ClusterRole = "cluster-admin"
		pairs.Go(func() error {
			var both errgroup.Group
			both.Go(func() error { return n.admin.Create(t.Context(), app) })
			both.Go(func() error { return n.client.Create(t.Context(), tokens[i]) })
			return both.Wait()
		})
	}
	must(t, pairs.Wait())
	for i := range rounds {
		tokenSoon(t, tokens[i], v1alpha1.ReasonNotAccepted)
		// So many refusals hold back every client without a valid token; a valid one is served all the same.
		if got := n.answers(t, texts[i], "/scim/v2"); got != http.StatusUnauthorized && got != http.StatusTooManyRequests {
			t.Fatalf("round %d: the token is answered %d", i, got)
		}
	}
	n.reachesNothing(t)
}

// The App is deleted and made again under its name, empty and with another token, before GitOps applies it again.
func TestTokenOfAnAppThatIsMadeAgain(t *testing.T) {
	for name, apply := range map[string]func(t *testing.T, n *tenant, app *v1alpha1.App){
		"by server-side apply": func(t *testing.T, n *tenant, app *v1alpha1.App) {
			n.kubectl(t, app, "apply", "--server-side", "--force-conflicts", "--field-manager=gitops")
		},
		"by kubectl apply": func(t *testing.T, n *tenant, app *v1alpha1.App) { n.kubectl(t, app, "apply") },
		"by kubectl replace": func(t *testing.T, n *tenant, app *v1alpha1.App) {
			if _, err := n.tryKubectl(t, []client.Object{app}, "create"); err != nil { // it is there
				n.kubectl(t, app, "replace")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTenant(t)
			official, text := n.newToken(t, "root", "official")
			app := n.newApp("root")
			app.Spec.Roles = []v1alpha1.Role{{Name: "root", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}}}
			app.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(official)}
			apply(t, n, app)
			must(t, n.admin.Create(t.Context(), official))
			n.answersSoon(t, text, http.StatusOK)

			refusedBy(t, n.client.Delete(t.Context(), app.DeepCopy()), keptPolicy, "cluster-admin")
			must(t, n.admin.Delete(t.Context(), app.DeepCopy())) // for whatever reason
			harness.Eventually(t, patience, "the end of the App", func(ctx context.Context) error {
				if err := n.admin.Get(ctx, client.ObjectKeyFromObject(app), &v1alpha1.App{}); client.IgnoreNotFound(err) != nil || err == nil {
					return errors.Join(errors.New("it is there"), err)
				}
				return nil
			})
			mine, stolen := n.newToken(t, "root", "mine")
			renamed, posing := n.newToken(t, "root", "official")
			empty := n.newApp("root")
			empty.Spec.Roles = nil
			empty.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(mine), accepting(renamed)}
			must(t, n.client.Create(t.Context(), empty))
			must(t, n.client.Create(t.Context(), mine))
			must(t, n.client.Patch(t.Context(), official.DeepCopy(), mergePatch(`{"spec":{"digest":"`+renamed.Spec.Digest+`"}}`)))
			n.answersSoon(t, stolen, http.StatusOK)
			n.answersSoon(t, posing, http.StatusOK)

			apply(t, n, app)
			n.answersSoon(t, stolen, http.StatusUnauthorized)
			n.answersSoon(t, posing, http.StatusUnauthorized)
			tokenSoon(t, mine, v1alpha1.ReasonNotAccepted)
			tokenSoon(t, official, v1alpha1.ReasonNotAccepted)
			n.reachesNothing(t)
		})
	}
}

// One apply with the token before its App ends well, without a second try.
func TestTokenBeforeItsApp(t *testing.T) {
	n := newTenant(t)
	app := n.newApp("late")
	byDigest, text := n.newToken(t, app.Name, "by-digest")
	generated := &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "generated"}}
	generated.Spec = v1alpha1.ScimTokenSpec{App: app.Name, Generate: &v1alpha1.GenerateToken{SecretName: "generated"}}
	app.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(byDigest), {Name: "generated"}}
	n.kubectlAll(t, []client.Object{byDigest, generated, app}, "apply")
	tokenSoon(t, byDigest, v1alpha1.ReasonValid)
	tokenSoon(t, generated, v1alpha1.ReasonValid)
	n.answersSoon(t, text, http.StatusOK)
}

// squat has the tenant's own App accept another tenant's digest, and returns the ScimToken of it.
func (n *tenant) squat(t testing.TB, app, name, digest string) *v1alpha1.ScimToken {
	t.Helper()
	object := &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: name}}
	object.Spec = v1alpha1.ScimTokenSpec{App: app, Digest: digest}
	must(t, n.client.Create(t.Context(), object))
	return object
}

func (n *tenant) squattingApp(t testing.TB, digest string) *v1alpha1.App {
	t.Helper()
	own := n.newApp("own")
	own.Spec.Tokens = []v1alpha1.AcceptedToken{{Name: "squatting", Digest: digest}}
	must(t, n.client.Create(t.Context(), own))
	return own
}

// base is the path under which a tenant's App is opened by name.
func (n *tenant) base(app string) string { return "/apps/" + n.namespace + "/" + app + "/scim/v2" }

// Digests are public: another tenant that copies one takes nothing from the App with the working token, and learns nothing
// of it.
func TestDigestOfAnotherTenant(t *testing.T) {
	victim, n := newTenant(t), newTenant(t)
	app := victim.newApp("victim")
	theirs, text := victim.newToken(t, app.Name, "theirs")
	app.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(theirs)}
	must(t, victim.client.Create(t.Context(), app))
	must(t, victim.client.Create(t.Context(), theirs))
	victim.answersSoon(t, text, http.StatusOK)

	own := n.squattingApp(t, theirs.Spec.Digest)
	tokenSoon(t, n.squat(t, "nowhere", "homeless", theirs.Spec.Digest), v1alpha1.ReasonAppNotFound)
	squatting := n.squat(t, own.Name, "squatting", theirs.Spec.Digest)
	told := tokenSoon(t, squatting, v1alpha1.ReasonOwnURLOnly)
	for _, name := range []string{victim.namespace, "victim", "theirs"} {
		if strings.Contains(told.Message, name) {
			t.Errorf("the condition tells which App has the digest: %q", told.Message)
		}
	}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got := victim.answers(t, text, "/scim/v2"); got != http.StatusOK {
			t.Fatalf("the token that worked is answered %d", got)
		}
	}
	if got := victim.answers(t, text, victim.base("victim")); got != http.StatusOK {
		t.Errorf("the victim's App is not opened at its URL: %d", got)
	}
	// A pause is no chance: the token opens nothing where no App is named.
	must(t, victim.client.Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"spec":{"suspended":true}}`)))
	tokenSoon(t, theirs, v1alpha1.ReasonSuspended)
	must(t, n.client.Patch(t.Context(), squatting.DeepCopy(), mergePatch(`{"spec":{"description":"now"}}`)))
	tokenSoon(t, squatting, v1alpha1.ReasonOwnURLOnly)
	victim.answersSoon(t, text, http.StatusUnauthorized)
	must(t, victim.client.Patch(t.Context(), theirs.DeepCopy(), mergePatch(`{"spec":{"suspended":false}}`)))
	victim.answersSoon(t, text, http.StatusOK)
	tokenSoon(t, theirs, v1alpha1.ReasonValid)
}

// A digest that was copied before its own App and token are applied takes nothing from that App either: at the URL that
// names it the token opens it, and the condition tells what it does elsewhere.
func TestDigestCopiedBeforehand(t *testing.T) {
	victim, n := newTenant(t), newTenant(t)
	app := victim.newApp("victim")
	theirs, text := victim.newToken(t, app.Name, "theirs")
	squatting := n.squat(t, n.squattingApp(t, theirs.Spec.Digest).Name, "squatting", theirs.Spec.Digest)
	tokenSoon(t, squatting, v1alpha1.ReasonValid)

	app.Spec.Tokens = []v1alpha1.AcceptedToken{accepting(theirs)}
	must(t, victim.client.Create(t.Context(), app))
	must(t, victim.client.Create(t.Context(), theirs))
	told := tokenSoon(t, theirs, v1alpha1.ReasonOwnURLOnly)
	if !strings.Contains(told.Message, victim.base("victim")) || strings.Contains(told.Message, n.namespace) || told.Status != metav1.ConditionTrue {
		t.Errorf("condition %+v", told)
	}
	if !meta.IsStatusConditionTrue(theirs.Status.Conditions, v1alpha1.ConditionReady) {
		t.Error("the squatter keeps the ScimToken from being Ready")
	}
	harness.Eventually(t, patience, "the App at its URL", func(context.Context) error {
		if got := victim.answers(t, text, victim.base("victim")); got != http.StatusOK {
			return fmt.Errorf("answered %d", got)
		}
		return nil
	})
	// And no other App: what is created there is the victim's.
	scim := operator.Client(operator.Server, victim.base("victim"), harness.App{Token: text}, okta.AppWizard)
	person := assign(t, scim, app, "own", "viewer")
	must(t, victim.admin.Get(t.Context(), keyOf(victim.namespace, person.id), &v1alpha1.User{}))
	// The squatter gives up: the token opens its App everywhere.
	must(t, n.client.Delete(t.Context(), squatting))
	tokenSoon(t, theirs, v1alpha1.ReasonValid)
	victim.answersSoon(t, text, http.StatusOK)
}

// The status of a ScimToken tells about its Secret, so its author must be able to read that one.
func TestSecretThatTheAuthorMayNotRead(t *testing.T) {
	n := newTenant(t)
	must(t, n.admin.Create(t.Context(), n.newApp("own")))
	user := n.namespace + ":writer"
	writer := &tenant{namespace: n.namespace, user: user, client: asUser(t, user), admin: n.admin}
	writer.allow(t, "writer", rbacRule("scim-operator.io", "scimtokens", "*"))
	secret := configSecret(n.namespace, "there")
	must(t, n.admin.Create(t.Context(), secret))
	for _, name := range []string{"there", "absent"} {
		for _, spec := range map[string]v1alpha1.ScimTokenSpec{
			"generate":  {App: "own", Generate: &v1alpha1.GenerateToken{SecretName: name}},
			"secretRef": {App: "own", SecretRef: &v1alpha1.SecretKeyReference{Name: name}},
		} {
			object := &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, GenerateName: "probe-"}, Spec: spec}
			err := writer.client.Create(t.Context(), object)
			refusedBy(t, err, secretsPolicy, `"get" on secrets "`+name+`"`)
		}
	}
	own := &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "own"}}
	own.Spec = v1alpha1.ScimTokenSpec{App: "own", Digest: token.Digest("any")}
	must(t, writer.client.Create(t.Context(), own))
	refusedBy(t, writer.client.Patch(t.Context(), own.DeepCopy(), mergePatch(`{"spec":{"digest":null,"generate":{"secretName":"there"}}}`)), secretsPolicy)
	must(t, writer.client.Patch(t.Context(), own.DeepCopy(), mergePatch(`{"spec":{"suspended":true}}`)))

	for _, name := range []string{"Upper", "under_score", "-dash", "a b"} {
		object := &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, GenerateName: "probe-"}}
		object.Spec = v1alpha1.ScimTokenSpec{App: "own", Generate: &v1alpha1.GenerateToken{SecretName: name}}
		if err := n.admin.Create(t.Context(), object); err == nil || !strings.Contains(err.Error(), "spec.generate.secretName") {
			t.Errorf("secretName %q: %v, want a refusal that names the field", name, err)
		}
	}
}
