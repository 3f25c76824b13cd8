package plugin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func newTest(s *session) *cobra.Command {
	o, f := &output{}, &scimFlags{}
	command := &cobra.Command{
		Use:   "test APP",
		Short: "Test an App as its client would: the connection, and a user from creation to deletion",
		Long: `Test an App as its client would: Okta's connection test, then a throw-away user
that is looked up, created, deactivated and deleted, over HTTP. Each step has a
tick or the reason why not. Nothing is left behind, also after Ctrl-C.

The user is called kubectl-scim-test-…@example.invalid and has, for a moment,
the App's default roles.`,
		Example: `  kubectl scim test quickstart
  kubectl scim test quickstart --url https://scim.example.com/scim/v2 --token-file token`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: s.completeApps(1),
		RunE: s.run(func(ctx context.Context, args []string) error {
			app, err := s.app(ctx, args[0])
			if err != nil {
				return err
			}
			scim, err := s.scimFor(ctx, app, f)
			if err != nil {
				return err
			}
			t := &trial{session: s, output: o, app: app, scim: scim, userName: "kubectl-scim-test-" + strings.ToLower(rand.Text()[:10]) + "@example.invalid"}
			t.play(ctx)
			return t.end(ctx)
		}),
	}
	f.addTo(command)
	o.addTo(command, formatJSON, formatYAML)
	return command
}

// trial is one run of test.
type trial struct {
	session  *session
	output   *output
	app      *v1alpha1.App
	scim     *scimClient
	userName string
	id       string
	mayExist bool
	steps    []trialStep
}

// trialStep is one step in the output.
type trialStep struct {
	Step    string  `json:"step"`
	OK      bool    `json:"ok"`
	Skipped bool    `json:"skipped,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}

// step does one thing and shows how it went. It returns false where it went wrong.
func (t *trial) step(name string, work func() (string, error)) bool {
	begun := time.Now()
	detail, err := work()
	step := trialStep{Step: name, OK: err == nil, Detail: detail, Seconds: time.Since(begun).Seconds()}
	if err != nil {
		step.Detail = errorText(err)
	}
	t.show(step)
	return err == nil
}

func (t *trial) skip(name, why string) {
	t.show(trialStep{Step: name, OK: true, Skipped: true, Detail: why})
}

func (t *trial) show(step trialStep) {
	t.steps = append(t.steps, step)
	if !t.output.isTable() {
		return
	}
	sign := t.session.colour(green, "✓")
	switch {
	case !step.OK:
		sign = t.session.colour(red, "✗")
	case step.Skipped:
		sign = "-"
	}
	text := step.Step
	if step.Detail != "" {
		text += ": " + step.Detail
	}
	if !step.Skipped {
		text += fmt.Sprintf(" (%.3fs)", step.Seconds)
	}
	t.session.say("%s %s", mark{sign}, text)
}

// play goes through the steps until one fails.
func (t *trial) play(ctx context.Context) {
	t.step("App "+t.app.Name+" is ready", func() (string, error) {
		if ready := conditionOf(t.app.Status.Conditions, v1alpha1.ConditionReady); ready.Status != metav1.ConditionTrue {
			return "", errors.New(cmp.Or(ready.Message, "the controller has not looked at it yet"))
		}
		return "", nil
	})
	t.show(trialStep{Step: "base URL", OK: true, Detail: t.scim.base + ", of " + t.scim.urlFrom})
	t.show(trialStep{Step: "token", OK: true, Detail: "of " + t.scim.tokenFrom})
	if !t.step("connection test, GET /Users?startIndex=1&count=2", func() (string, error) { return t.connect(ctx) }) {
		return
	}
	if !t.app.Spec.Provisioning.CreatesUsers() {
		t.skip("create a user", "spec.provisioning.createUsers is off")
		return
	}
	if !t.step("look up "+t.userName, func() (string, error) { return t.lookUp(ctx) }) {
		return
	}
	if !t.step("create it, POST /Users", func() (string, error) { return t.create(ctx) }) {
		return
	}
	t.step("read it back by id and by userName", func() (string, error) { return t.readBack(ctx) })
	if !t.app.Spec.Provisioning.DeactivatesUsers() {
		t.skip("deactivate it", "spec.provisioning.deactivateUsers is off")
		return
	}
	if t.step("deactivate it, PATCH active false", func() (string, error) { return t.deactivate(ctx) }) {
		t.confirm(ctx)
	}
}

// confirm shows what the controller says of the deactivation, where that may be read.
func (t *trial) confirm(ctx context.Context) {
	const name = "its access is gone"
	user := &v1alpha1.User{}
	err := t.session.client.Get(ctx, client.ObjectKey{Namespace: t.app.Namespace, Name: t.id}, user)
	if right := missingRight(err); right != "" {
		t.skip(name, "not seen: you lack the right to "+right)
		return
	}
	t.step(name, func() (string, error) { return t.revoked(ctx) })
}

func (t *trial) connect(ctx context.Context) (string, error) {
	list := &scimList{}
	if err := t.scim.do(ctx, http.MethodGet, "/Users?startIndex=1&count=2", nil, list); err != nil {
		return "", err
	}
	if len(list.Schemas) != 1 || list.Schemas[0] != protocol.ListResponseSchema {
		return "", errors.New("the answer is no list of SCIM: is this the base URL?")
	}
	return fmt.Sprintf("%d users", list.TotalResults), nil
}

func (t *trial) lookUp(ctx context.Context) (string, error) {
	user, err := t.scim.find(ctx, t.userName)
	if err == nil && user != nil {
		err = errors.New("it is there already")
	}
	return "not there", err
}

func (t *trial) create(ctx context.Context) (string, error) {
	user := &scimUser{}
	t.mayExist = true // also where no answer comes
	if err := t.scim.do(ctx, http.MethodPost, "/Users", t.body(), user); err != nil {
		return "", err
	}
	t.id = user.ID
	if user.ID == "" || !user.Active {
		return "", errors.New("the answer shows no active user")
	}
	return "id " + user.ID, nil
}

// body is what Okta would send, with a value for each attribute that the App requires.
func (t *trial) body() map[string]any {
	body := map[string]any{
		"schemas": []string{protocol.UserSchema}, "userName": t.userName, "active": true,
		"name":   map[string]any{"givenName": "Test", "familyName": "kubectl scim"},
		"emails": []any{map[string]any{"primary": true, "type": "work", "value": t.userName}}, "displayName": "Test of kubectl scim",
	}
	for _, attribute := range t.app.Spec.Attributes {
		if attribute.Required {
			addAttribute(body, attribute)
		}
	}
	return body
}

func addAttribute(body map[string]any, attribute v1alpha1.CustomAttribute) {
	values := map[string]any{"boolean": true, "decimal": 1.5, "integer": 1, "dateTime": "2030-01-01T00:00:00Z", "reference": "https://example.invalid"}
	value, typed := values[attribute.Type]
	switch {
	case len(attribute.CanonicalValues) > 0:
		value = attribute.CanonicalValues[0]
	case !typed:
		value = "test"
	}
	if attribute.MultiValued {
		value = []any{value}
	}
	if isCore(attribute.Schema) {
		body[attribute.Name] = value
		return
	}
	extension, isThere := body[attribute.Schema].(map[string]any)
	if !isThere {
		extension = map[string]any{}
		body[attribute.Schema] = extension
	}
	extension[attribute.Name] = value
}

func (t *trial) readBack(ctx context.Context) (string, error) {
	byID := &scimUser{}
	if err := t.scim.do(ctx, http.MethodGet, "/Users/"+t.id, nil, byID); err != nil {
		return "", err
	}
	byName, err := t.scim.find(ctx, strings.ToUpper(t.userName))
	switch {
	case err != nil:
		return "", err
	case byName == nil || byName.ID != t.id || byID.ID != t.id:
		return "", errors.New("it is not found by its userName in another letter case")
	}
	return "", nil
}

func (t *trial) deactivate(ctx context.Context) (string, error) {
	user := &scimUser{Active: true}
	err := t.scim.do(ctx, http.MethodPatch, "/Users/"+t.id, map[string]any{
		"schemas":    []string{protocol.PatchOpSchema},
		"Operations": []any{map[string]any{"op": "replace", "value": map[string]any{"active": false}}},
	}, user)
	if err == nil && user.Active {
		err = errors.New("the answer shows an active user")
	}
	return "", err
}

// revoked looks at the User object: the answer to the deactivation may have come before the controller confirmed it.
func (t *trial) revoked(ctx context.Context) (string, error) {
	user := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: t.app.Namespace, Name: t.id}}
	var revoked metav1.Condition
	inTime, err := t.session.await(ctx, user, 30*time.Second, func() bool {
		revoked = conditionOf(user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
		return user.Status.ObservedGeneration == user.Generation && revoked.Status == metav1.ConditionTrue
	})
	switch {
	case err != nil:
		return "", err
	case !inTime:
		return "", errors.New(cmp.Or(revoked.Message, "the controller has not said so"))
	}
	return revoked.Message, nil
}

// end deletes the user, also where its creation had no answer, and sums up.
func (t *trial) end(ctx context.Context) error {
	// Ctrl-C must leave nothing behind: the clean-up has its own time.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), scimTimeout)
	defer cancel()
	if t.mayExist {
		t.step("delete it", func() (string, error) { return t.remove(clean) })
	}
	if !t.output.isTable() {
		if err := t.session.printValue(t.output, t.steps); err != nil {
			return err
		}
	}
	for _, step := range t.steps {
		if !step.OK {
			return errNo
		}
	}
	return ctx.Err()
}

// remove deletes by SCIM, or, where the App lets no client delete, the object.
func (t *trial) remove(ctx context.Context) (string, error) {
	if t.id == "" {
		user, err := t.scim.find(ctx, t.userName)
		if err != nil {
			return "", fmt.Errorf("a user %s may be left behind: %w", t.userName, err)
		}
		if user == nil {
			return "it was not created", nil
		}
		t.id = user.ID
	}
	how := "DELETE /Users/" + t.id
	err := t.scim.do(ctx, http.MethodDelete, "/Users/"+t.id, nil, nil)
	if err != nil && !isStatus(err, http.StatusNotFound) {
		how = "the object, since the client may not: " + err.Error()
		object := &v1alpha1.User{ObjectMeta: metav1.ObjectMeta{Namespace: t.app.Namespace, Name: t.id}}
		if failed := t.session.client.Delete(ctx, object); failed != nil && !apierrors.IsNotFound(failed) {
			return "", fmt.Errorf("user %s is left behind: %w; %w", t.id, err, failed)
		}
	}
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := t.scim.do(ctx, http.MethodGet, "/Users/"+t.id, nil, nil)
		if isStatus(err, http.StatusNotFound) {
			return how + ", and it is not found any more", nil
		}
		if time.Since(begun) > 30*time.Second || err != nil {
			return "", fmt.Errorf("user %s is left behind: %w", t.id, errors.Join(err, errors.New("it is still found")))
		}
	}
}
