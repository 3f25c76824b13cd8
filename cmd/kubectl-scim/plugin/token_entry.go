package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// editEntries changes spec.tokens of an App, and nothing else of it. change gets the entries as they are and returns those that
// are to be; it may be called again where the App changed meanwhile. Errors are the API server's, those of admission too.
func (t tokenCommands) editEntries(ctx context.Context, name string, change func([]v1alpha1.AcceptedToken) []v1alpha1.AcceptedToken) (*v1alpha1.App, error) {
	app := &v1alpha1.App{}
	return app, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := t.client.Get(ctx, client.ObjectKey{Namespace: t.namespace, Name: name}, app); err != nil {
			return err
		}
		before := app.DeepCopy()
		app.Spec.Tokens = change(slices.Clone(app.Spec.Tokens))
		// The list is replaced as a whole: one that another hand changed meanwhile must not be lost.
		return t.client.Patch(ctx, app, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
}

func without(entries []v1alpha1.AcceptedToken, name string) []v1alpha1.AcceptedToken {
	return slices.DeleteFunc(entries, func(entry v1alpha1.AcceptedToken) bool { return entry.Name == name })
}

// addToken creates a ScimToken and has its App list it. Where the App cannot be changed, the ScimToken is deleted again: it
// would open nothing.
func (t tokenCommands) addToken(ctx context.Context, token *v1alpha1.ScimToken, entry v1alpha1.AcceptedToken) error {
	if err := t.client.Create(ctx, token); err != nil {
		return err
	}
	app, err := t.editEntries(ctx, token.Spec.App, func(entries []v1alpha1.AcceptedToken) []v1alpha1.AcceptedToken {
		return append(without(entries, token.Name), entry)
	})
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if left := t.client.Delete(undo, token); client.IgnoreNotFound(left) != nil {
			t.note("The ScimToken %s was created, opens nothing, and could not be deleted: %v", token.Name, left)
		}
		return fmt.Errorf("the App does not list the token: %w", err)
	}
	t.noteAppliers(app)
	return nil
}

// noteAppliers warns where another tool applies the App's list of tokens: it would put its own back.
func (c *console) noteAppliers(app *v1alpha1.App) {
	for _, managed := range app.ManagedFields {
		if managed.Operation == metav1.ManagedFieldsOperationApply && managed.Manager != fieldManager && managed.FieldsV1 != nil && ownsTokens(managed.FieldsV1) {
			c.note("%s applies spec.tokens of App %s and will put its own list back: change its manifest, too (-o yaml prints it).", managed.Manager, app.Name)
		}
	}
}

// ownsTokens says whether a field manager's fields include spec.tokens.
func ownsTokens(fields *metav1.FieldsV1) bool {
	var owned struct {
		Spec map[string]any `json:"f:spec"`
	}
	if err := yaml.Unmarshal([]byte(fields.GetRawString()), &owned); err != nil {
		return false
	}
	_, owns := owned.Spec["f:tokens"]
	return owns
}

// printManifests prints what Git is to have, and changes nothing: ScimTokens, and the App's whole list of tokens. The list is a
// comment: an App with nothing but tokens, once applied, would take everything else away.
func (t tokenCommands) printManifests(ctx context.Context, appName string, change func([]v1alpha1.AcceptedToken) []v1alpha1.AcceptedToken, tokens ...*v1alpha1.ScimToken) error {
	app, err := t.app(ctx, appName)
	if err != nil {
		return err
	}
	for _, token := range tokens {
		text, err := yaml.Marshal(manifestOf(token))
		if err != nil {
			return err
		}
		t.say("%s---", mark{string(text)})
	}
	list, err := yaml.Marshal(map[string]any{"tokens": change(slices.Clone(app.Spec.Tokens))})
	if err != nil {
		return err
	}
	t.say("# In the manifest of App %s, this list takes the place of spec.tokens:", app.Name)
	for line := range strings.Lines(string(list)) {
		t.say("#   %s", mark{strings.TrimRight(line, "\n")})
	}
	return nil
}

// printFormer prints the manifest of a token that is to end.
func (c *console) printFormer(former *v1alpha1.ScimToken) error {
	text, err := yaml.Marshal(manifestOf(former))
	if err != nil {
		return err
	}
	c.say("# The former token, with its end:\n%s---", mark{string(text)})
	return nil
}

func manifestOf(token *v1alpha1.ScimToken) map[string]any {
	return map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "ScimToken",
		"metadata": map[string]any{"name": token.Name, "namespace": token.Namespace}, "spec": token.Spec,
	}
}

// awaitAccepted waits until the controller says that the token opens its App. It returns what the controller says otherwise,
// and errNo where that is nothing in time.
func (t tokenCommands) awaitAccepted(ctx context.Context, token *v1alpha1.ScimToken, limit time.Duration) error {
	if limit <= 0 {
		return nil
	}
	generation := token.Generation
	var accepted metav1.Condition
	inTime, err := t.await(ctx, token, limit, func() bool {
		accepted = conditionOf(token.Status.Conditions, v1alpha1.ConditionAccepted)
		return token.Status.ObservedGeneration >= generation && accepted.Status == metav1.ConditionTrue
	})
	switch {
	case err != nil:
		return err
	case inTime:
		t.note("ScimToken %s opens App %s.", token.Name, token.Spec.App)
		return nil
	case accepted.Message != "":
		t.note("ScimToken %s does not open App %s: %s", token.Name, token.Spec.App, accepted.Message)
	default:
		t.note("The controller has not looked at ScimToken %s within %s.", token.Name, limit)
	}
	return errNo
}
