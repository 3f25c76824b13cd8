package controllers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// tokens is a world with tokens of its App.
type tokens struct{ *world }

// newToken makes a ScimToken that its App, which must exist, accepts.
func (w tokens) newToken(name string, spec v1alpha1.ScimTokenSpec) *v1alpha1.ScimToken {
	w.Helper()
	object := w.newUnlistedToken(name, spec)
	if err := env.AcceptToken(w.ctx, object); err != nil {
		w.Fatal(err)
	}
	return object
}

func (w tokens) newUnlistedToken(name string, spec v1alpha1.ScimTokenSpec) *v1alpha1.ScimToken {
	w.Helper()
	if spec.App == "" {
		spec.App = w.app.Name
	}
	object := &v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: spec}
	w.create(object)
	return object
}

// accept has an App list exactly these tokens.
func (w tokens) accept(app string, tokens ...v1alpha1.AcceptedToken) {
	w.Helper()
	object := &v1alpha1.App{}
	object.Namespace, object.Name = w.namespace, app
	if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(object), object); err != nil {
		w.Fatal(err)
	}
	update(w, object, func(a *v1alpha1.App) { a.Spec.Tokens = tokens })
}

func (w tokens) newSecret(name, value string) *corev1.Secret {
	w.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{"scim-operator.io/token": "true"}},
		StringData: map[string]string{"token": value},
	}
	w.create(secret)
	return secret
}

func (w tokens) eventuallyValid(object *v1alpha1.ScimToken, digest string) {
	w.Helper()
	w.eventually(func() string {
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err.Error()
		}
		if object.Status.Digest != digest {
			return fmt.Sprintf("status = %+v", object.Status)
		}
		return ""
	})
	w.eventuallyCondition(object, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonValid)
	w.eventuallyCondition(object, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonValid)
	if object.Status.TokenID != token.ID(digest) {
		w.Errorf("token id = %q", object.Status.TokenID)
	}
}

// eventuallyRefused waits for a token to be refused, and sees that nothing of it is published.
func (w tokens) eventuallyRefused(object *v1alpha1.ScimToken, reason string) metav1.Condition {
	w.Helper()
	c := w.eventuallyCondition(object, v1alpha1.ConditionReady, metav1.ConditionFalse, reason)
	w.eventuallyCondition(object, v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason)
	if object.Status.Digest != "" || object.Status.TokenID != "" {
		w.Errorf("refused, and published: %+v", object.Status)
	}
	return c
}

// eventuallyOwnURLOnly waits for a token with a digest that another App had first.
func (w tokens) eventuallyOwnURLOnly(object *v1alpha1.ScimToken, digest string) metav1.Condition {
	w.Helper()
	c := w.eventuallyCondition(object, v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonOwnURLOnly)
	if object.Status.Digest != digest || !object.Status.OwnURLOnly || !strings.Contains(c.Message, "/apps/"+object.Namespace+"/"+object.Spec.App+"/scim/v2") {
		w.Errorf("status %+v", object.Status)
	}
	return c
}

// eventuallyClosed waits for a token that opens nothing because its specification says so: that is as asked, so that GitOps
// need not wait, and no other App can take the digest meanwhile.
func (w tokens) eventuallyClosed(object *v1alpha1.ScimToken, reason, digest string) {
	w.Helper()
	w.eventuallyCondition(object, v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason)
	w.eventuallyCondition(object, v1alpha1.ConditionReady, metav1.ConditionTrue, reason)
	if object.Status.Digest != digest {
		w.Errorf("status = %+v, want the digest kept", object.Status)
	}
}

func newTokenText(t *testing.T) string {
	t.Helper()
	text, err := token.New()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokens(t *testing.T) {
	w := tokens{newWorld(t, nil)}
	for _, part := range []struct {
		name string
		play func(*testing.T, tokens)
	}{
		{"digest", tokenDigest},
		{"secret", tokenSecret},
		{"secret without the label", tokenSecretWithoutTheLabel},
		{"generated", tokenGenerated},
		{"generated over a foreign secret", tokenGeneratedOverAForeignSecret},
		{"times", tokenTimes},
		{"generated, put back from a backup", tokenGeneratedAndRestored},
		{"without an App", tokenWithoutAnApp},
		{"not accepted", tokenNotAccepted},
		{"of two Apps", tokenOfTwoApps},
		{"counted", tokenCounted},
	} {
		t.Run(part.name, func(t *testing.T) { part.play(t, w.with(t)) })
	}
}

func tokenDigest(t *testing.T, w tokens) {
	digest := token.Digest(newTokenText(t))
	object := w.newToken("digest", v1alpha1.ScimTokenSpec{Digest: digest})
	w.eventuallyValid(object, digest)
	update(w, object, func(o *v1alpha1.ScimToken) { o.Spec.Suspended = true })
	w.eventuallyClosed(object, v1alpha1.ReasonSuspended, digest)
	update(w, object, func(o *v1alpha1.ScimToken) { o.Spec.Suspended = false })
	w.eventuallyValid(object, digest)
}

func tokenSecret(t *testing.T, w tokens) {
	first, second := newTokenText(t), newTokenText(t)
	object := w.newToken("secret", v1alpha1.ScimTokenSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "brought"}})
	w.eventuallyRefused(object, v1alpha1.ReasonSecretNotFound)
	secret := w.newSecret("brought", first+"\n")
	w.eventuallyValid(object, token.Digest(first))
	rotate := func(value string) {
		update(w, secret, func(s *corev1.Secret) { s.StringData = map[string]string{"token": value} })
	}
	rotate(second)
	w.eventuallyValid(object, token.Digest(second))
	rotate(token.Digest(first))
	w.eventuallyValid(object, token.Digest(first))
	for _, value := range []string{"short", strings.Repeat("x", 20) + " " + strings.Repeat("y", 20), "sha256:" + strings.Repeat("é", 32)} {
		rotate(value)
		c := w.eventuallyRefused(object, v1alpha1.ReasonInvalidToken)
		if strings.Contains(c.Message, value) {
			t.Errorf("the message shows the token: %q", c.Message)
		}
		rotate(first)
		w.eventuallyValid(object, token.Digest(first))
	}
	update(w, secret, func(s *corev1.Secret) { s.Data = map[string][]byte{"other": []byte(first)} })
	w.eventuallyRefused(object, v1alpha1.ReasonInvalidToken)
	w.delete(secret)
	w.eventuallyRefused(object, v1alpha1.ReasonSecretNotFound)
}

func tokenSecretWithoutTheLabel(t *testing.T, w tokens) {
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "unlabelled"}, StringData: map[string]string{"token": newTokenText(t)}})
	object := w.newToken("unlabelled", v1alpha1.ScimTokenSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "unlabelled"}})
	if c := w.eventuallyRefused(object, v1alpha1.ReasonSecretNotFound); !strings.Contains(c.Message, "scim-operator.io/token=true") {
		t.Errorf("message = %q", c.Message)
	}
}

func tokenGenerated(t *testing.T, w tokens) {
	object := w.newToken("generated", v1alpha1.ScimTokenSpec{Generate: &v1alpha1.GenerateToken{SecretName: "made"}})
	secret := w.eventuallySecret("made", "")
	text := string(secret.Data["token"])
	w.eventuallyValid(object, token.Digest(text))
	read := "kubectl -n " + w.namespace + " get secret made -o jsonpath='{.data.token}' | base64 -d"
	if c := w.eventuallyCondition(object, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonValid); !strings.Contains(c.Message, read) {
		t.Errorf("the condition does not say how to read the token: %q", c.Message)
	}
	w.eventuallyEvent(object, v1alpha1.ReasonGenerated, read)
	if !strings.HasPrefix(text, "scim_") || !metav1.IsControlledBy(secret, object) {
		t.Errorf("secret of %d characters, owned by %v", len(text), secret.OwnerReferences)
	}
	w.delete(secret)
	again := w.eventuallySecret("made", text)
	w.eventuallyValid(object, token.Digest(string(again.Data["token"])))
	update(w, again, func(s *corev1.Secret) { s.Labels = nil }) // the informer loses sight of it
	w.eventuallyValid(object, token.Digest(string(again.Data["token"])))
}

func tokenGeneratedOverAForeignSecret(t *testing.T, w tokens) {
	text := newTokenText(t)
	foreign := w.newSecret("foreign", text)
	object := w.newToken("foreign", v1alpha1.ScimTokenSpec{Generate: &v1alpha1.GenerateToken{SecretName: "foreign"}})
	w.eventuallyRefused(object, v1alpha1.ReasonSecretNotMade)
	if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(foreign), foreign); err != nil || string(foreign.Data["token"]) != text {
		t.Errorf("the foreign Secret was changed (%v)", err)
	}
}

func tokenTimes(t *testing.T, w tokens) {
	digest := token.Digest(newTokenText(t))
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: time.Now().Add(d).Truncate(time.Second)} }
	object := w.newToken("times", v1alpha1.ScimTokenSpec{Digest: digest, NotBefore: at(time.Hour), ExpiresAt: at(2 * time.Hour)})
	w.eventuallyClosed(object, v1alpha1.ReasonNotYetValid, digest)
	update(w.world, object, func(token *v1alpha1.ScimToken) { token.Spec.NotBefore = at(3 * time.Second) })
	w.eventuallyValid(object, digest)
	if time.Now().Before(object.Spec.NotBefore.Time) {
		t.Error("valid before its time")
	}
	w.eventuallyCondition(object, v1alpha1.ConditionExpiring, metav1.ConditionTrue, v1alpha1.ConditionExpiring)
	update(w.world, object, func(token *v1alpha1.ScimToken) { token.Spec.ExpiresAt = at(3 * time.Second) })
	w.eventuallyClosed(object, v1alpha1.ReasonExpired, digest)
	w.eventuallyCondition(object, v1alpha1.ConditionExpired, metav1.ConditionTrue, v1alpha1.ReasonExpired)
	if time.Now().Before(object.Spec.ExpiresAt.Time) {
		t.Error("expired before its time")
	}
}

func tokenGeneratedAndRestored(_ *testing.T, w tokens) {
	object := w.newToken("restored", v1alpha1.ScimTokenSpec{Generate: &v1alpha1.GenerateToken{SecretName: "restored"}})
	secret := w.eventuallySecret("restored", "")
	digest := token.Digest(string(secret.Data["token"]))
	w.eventuallyValid(object, digest)
	w.delete(object)
	w.delete(secret)
	// A backup tool takes owners, UIDs and statuses away.
	secret.ObjectMeta = metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name, Labels: secret.Labels, Annotations: secret.Annotations}
	w.create(secret)
	w.eventuallyValid(w.newToken("restored", v1alpha1.ScimTokenSpec{Generate: &v1alpha1.GenerateToken{SecretName: "restored"}}), digest)
	w.eventuallyRefused(w.newToken("another", v1alpha1.ScimTokenSpec{Generate: &v1alpha1.GenerateToken{SecretName: "restored"}}), v1alpha1.ReasonSecretNotMade)
}

func tokenWithoutAnApp(t *testing.T, w tokens) {
	digest := token.Digest(newTokenText(t))
	object := w.newUnlistedToken("orphan", v1alpha1.ScimTokenSpec{Digest: digest, App: "later"})
	made := w.newUnlistedToken("orphan-made", v1alpha1.ScimTokenSpec{Generate: &v1alpha1.GenerateToken{SecretName: "orphan"}, App: "later"})
	w.eventuallyRefused(object, v1alpha1.ReasonAppNotFound)
	w.eventuallyRefused(made, v1alpha1.ReasonAppNotFound)
	if err := env.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "orphan"}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("a Secret was made for a token without an App: %v", err)
	}
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "later"}}
	app.Spec.Tokens = []v1alpha1.AcceptedToken{{Name: "orphan", Digest: digest}, {Name: "orphan-made"}}
	w.create(app)
	w.eventuallyValid(object, digest)
	w.eventuallyValid(made, token.Digest(string(w.eventuallySecret("orphan", "").Data["token"])))
	w.delete(app)
	w.eventuallyRefused(object, v1alpha1.ReasonAppNotFound)
}

func tokenNotAccepted(t *testing.T, w tokens) {
	first, second := token.Digest(newTokenText(t)), newTokenText(t)
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "choosy"}}
	w.create(app)
	object := w.newUnlistedToken("choosy", v1alpha1.ScimTokenSpec{App: "choosy", Digest: first})
	c := w.eventuallyRefused(object, v1alpha1.ReasonNotAccepted)
	if want := "tokens:\n- name: choosy\n  digest: " + first + "\n"; !strings.Contains(c.Message, want) {
		t.Errorf("the message %q lacks the lines %q", c.Message, want)
	}
	w.accept("choosy", v1alpha1.AcceptedToken{Name: "choosy"}) // a digest must be listed
	w.eventuallyRefused(object, v1alpha1.ReasonNotAccepted)
	w.accept("choosy", v1alpha1.AcceptedToken{Name: "choosy", Digest: token.Digest(second)}, v1alpha1.AcceptedToken{Name: "other", Digest: first})
	w.eventuallyRefused(object, v1alpha1.ReasonNotAccepted)
	w.accept("choosy", v1alpha1.AcceptedToken{Name: "choosy", Digest: first})
	w.eventuallyValid(object, first)
	update(w, object, func(o *v1alpha1.ScimToken) { o.Spec.Digest = token.Digest(second) })
	w.eventuallyRefused(object, v1alpha1.ReasonNotAccepted)
	// By a Secret the digest that is listed, and no other one.
	w.newSecret("choosy", second)
	update(w, object, func(o *v1alpha1.ScimToken) {
		o.Spec.Digest, o.Spec.SecretRef = "", &v1alpha1.SecretKeyReference{Name: "choosy"}
	})
	w.eventuallyRefused(object, v1alpha1.ReasonNotAccepted)
	w.accept("choosy", v1alpha1.AcceptedToken{Name: "choosy", Digest: token.Digest(second)})
	w.eventuallyValid(object, token.Digest(second))
	w.accept("choosy", v1alpha1.AcceptedToken{Name: "choosy"})
	w.eventuallyValid(object, token.Digest(second))
	w.accept("choosy")
	w.eventuallyRefused(object, v1alpha1.ReasonNotAccepted)
}

func tokenOfTwoApps(t *testing.T, w tokens) {
	digest := token.Digest(newTokenText(t))
	other := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "other"}}
	w.create(other)
	one := w.newToken("one", v1alpha1.ScimTokenSpec{Digest: digest})
	same := w.newToken("same", v1alpha1.ScimTokenSpec{Digest: digest}) // the same App: no harm
	w.eventuallyValid(one, digest)
	w.eventuallyValid(same, digest)
	two := w.newToken("two", v1alpha1.ScimTokenSpec{Digest: digest, App: "other"})
	c := w.eventuallyOwnURLOnly(two, digest)
	for _, word := range []string{"/" + w.app.Name + "/", "ScimToken"} {
		if strings.Contains(c.Message, word) {
			t.Errorf("the message tells which App has the digest: %q", c.Message)
		}
	}
	// What works goes on working, and keeps its digest while it is suspended.
	w.eventuallyValid(one, digest)
	w.delete(same)
	update(w, one, func(o *v1alpha1.ScimToken) { o.Spec.Suspended = true })
	w.eventuallyClosed(one, v1alpha1.ReasonSuspended, digest)
	update(w, two, func(o *v1alpha1.ScimToken) { o.Spec.Description = "look again" })
	w.eventuallyOwnURLOnly(two, digest)
	w.delete(one)
	w.eventuallyValid(two, digest)
	w.eventuallyOwnURLOnly(w.newToken("one", v1alpha1.ScimTokenSpec{Digest: digest}), digest)
	w.delete(two)
	w.eventuallyValid(&v1alpha1.ScimToken{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "one"}}, digest)
}

func tokenCounted(_ *testing.T, w tokens) {
	w.eventually(func() string { // digest, generated, restored, one
		if err := env.Client.Get(w.ctx, client.ObjectKeyFromObject(w.app), w.app); err != nil {
			return err.Error()
		}
		if w.app.Status.Tokens != 4 {
			return fmt.Sprintf("%d tokens", w.app.Status.Tokens)
		}
		return ""
	})
}

// with returns the same world for a subtest.
func (w tokens) with(t *testing.T) tokens { return tokens{w.world.with(t)} }

// eventuallySecret waits for a Secret with another token than before.
func (w tokens) eventuallySecret(name, before string) *corev1.Secret {
	w.Helper()
	secret := &corev1.Secret{}
	w.eventually(func() string {
		err := env.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, secret)
		if apierrors.IsNotFound(err) || err == nil && string(secret.Data["token"]) == before {
			return "no new Secret"
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	return secret
}
