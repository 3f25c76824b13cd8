package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// etcd is full: what writes is answered 429 with whole seconds to wait, reads go on, and the deactivation works as soon as there is room.
func TestEtcdIsFull(t *testing.T) {
	app := newApp(t, operator.Server, 30*time.Second) // an answer says that the access is gone
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	person := newPerson("full")
	if _, err := scim.AssignUser(t.Context(), person); err != nil {
		t.Fatal(err)
	}
	subject := app.Subject(person.Profile.UserName)
	operator.AccessSoon(t, subject, harness.Everywhere(harness.Viewer))

	room := operator.Alarm(t, "NOSPACE")
	off := []byte(`{"schemas":["` + okta.SchemaPatchOp + `"],"Operations":[{"op":"replace","value":{"active":false}}]}`)
	for _, write := range []struct {
		method, target string
		body           []byte
	}{
		{http.MethodPost, "/Users", fmt.Appendf(nil, `{"schemas":[%q],"userName":"no.room@example.com","active":true}`, okta.SchemaUser)},
		{http.MethodPatch, "/Users/" + person.ID, off},
		{http.MethodDelete, "/Users/" + person.ID, nil},
		{http.MethodPost, "/Groups", fmt.Appendf(nil, `{"schemas":[%q],"displayName":"No room"}`, okta.SchemaGroup)},
	} {
		answer, err := scim.Do(t.Context(), write.method, write.target, write.body)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.ExpectError(http.StatusTooManyRequests, ""); err != nil || answer.RetryAfter() <= 0 {
			t.Errorf("%s %s while etcd is full: %v, Retry-After %v", write.method, write.target, err, answer.RetryAfter())
		}
	}
	if err := found(t.Context(), scim, person); err != nil {
		t.Errorf("a read while etcd is full: %v", err)
	}

	room()
	if err := patiently(t.Context(), recovery, func() error { _, err := scim.Deactivate(t.Context(), person); return err }); err != nil {
		t.Fatal(err)
	}
	operator.AccessNow(t, subject, harness.Nowhere())
}

// A scope of a thousand namespaces is granted and revoked everywhere, and no leaver of another App waits for it.
func TestAThousandNamespaces(t *testing.T) {
	const namespaces = 1000
	operator.ShowOnFailure(t)
	directory := operator.Env.Namespace(t, nil)
	label := map[string]string{"thousand": directory}
	var makers errgroup.Group
	makers.SetLimit(16)
	name := func(i int) string { return fmt.Sprintf("%s-%04d", directory, i) }
	for i := range namespaces {
		makers.Go(func() error {
			return operator.Env.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name(i), Labels: label}})
		})
	}
	if err := makers.Wait(); err != nil {
		t.Fatal(err)
	}
	app := operator.NewApp(t, operator.Server, directory, "thousand", func(spec *v1alpha1.AppSpec) {
		spec.Scopes = v1alpha1.Scopes{List: []v1alpha1.Scope{{Name: "all", NamespaceSelector: &metav1.LabelSelector{MatchLabels: label}}}}
		spec.Deactivation.ConfirmWithin = &metav1.Duration{Duration: 2 * time.Second}
	})
	other := newApp(t, operator.Server, 30*time.Second)
	wide, narrow := operator.Client(operator.Server, "/scim/v2", app, okta.Template), operator.Client(operator.Server, "/scim/v2", other, okta.Template)
	jane, john := newPerson("wide"), newPerson("narrow")
	for scim, person := range map[*okta.Client]*okta.Assignment{wide: jane, narrow: john} {
		if _, err := scim.AssignUser(t.Context(), person); err != nil {
			t.Fatal(err)
		}
	}
	is := func(kind string, status metav1.ConditionStatus, verdict bool) {
		t.Helper()
		took := harness.Eventually(t, 5*time.Minute, kind, func(context.Context) error {
			found := meta.FindStatusCondition(operator.User(t, app, jane.ID).Status.Conditions, kind)
			if found == nil || found.Status != status {
				return fmt.Errorf("it is %+v", found)
			}
			return nil
		})
		t.Logf("%s after %s", kind, took.Round(time.Millisecond))
		for i := range namespaces {
			as := func(ctx context.Context) error {
				allowed, err := operator.CanI(ctx, app.Subject(jane.Profile.UserName), "list", "configmaps", name(i))
				if err == nil && allowed != verdict {
					err = fmt.Errorf("access is %t", allowed)
				}
				return err
			}
			if !verdict { // what is told to be gone is gone; what is granted, the authorizer knows a moment later
				if err := as(t.Context()); err != nil {
					t.Fatalf("%s: %v", name(i), err)
				}
				continue
			}
			harness.Eventually(t, recovery, name(i), as)
		}
	}
	is(v1alpha1.ConditionAccessGranted, metav1.ConditionTrue, true)
	operator.AccessSoon(t, other.Subject(john.Profile.UserName), harness.Everywhere(harness.Viewer))

	leaving := make(chan error, 1)
	go func() { _, err := wide.Deactivate(t.Context(), jane); leaving <- err }()
	begun := time.Now()
	if _, err := narrow.Deactivate(t.Context(), john); err != nil {
		t.Fatal(err)
	}
	operator.AccessNow(t, other.Subject(john.Profile.UserName), harness.Nowhere())
	t.Logf("the leaver of the other App is answered after %s", time.Since(begun).Round(time.Millisecond))
	if err := <-leaving; err != nil {
		t.Fatal(err)
	}
	is(v1alpha1.ConditionAccessRevoked, metav1.ConditionTrue, false)
}

// A deactivation that is answered before its access was confirmed gone is a warning in the server's log, with the id.
func TestUnconfirmedRevocationIsAWarning(t *testing.T) {
	app := newApp(t, operator.Server, 15*time.Second)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	confirmed, unconfirmed := newPerson("confirmed"), newPerson("unconfirmed")
	for _, person := range []*okta.Assignment{confirmed, unconfirmed} {
		if _, err := scim.AssignUser(t.Context(), person); err != nil {
			t.Fatal(err)
		}
		operator.AccessSoon(t, app.Subject(person.Profile.UserName), harness.Everywhere(harness.Viewer))
	}
	if _, err := scim.Deactivate(t.Context(), confirmed); err != nil {
		t.Fatal(err)
	}
	if err := operator.Controller.Kill(); err != nil {
		t.Fatal(err)
	}
	defer startController(t)
	if _, err := scim.Deactivate(t.Context(), unconfirmed); err != nil {
		t.Fatal(err)
	}
	// The log's last lines come through a pipe, after the answer.
	var warnings map[string]bool
	_ = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		warnings = unconfirmedRevocations()
		return warnings[unconfirmed.ID], nil
	})
	if !warnings[unconfirmed.ID] || warnings[confirmed.ID] {
		t.Errorf("warnings are about %v, want %s and not %s", warnings, unconfirmed.ID, confirmed.ID)
	}
}

// unconfirmedRevocations are the ids of the users of which the server's log warns that their access was not confirmed gone.
func unconfirmedRevocations() map[string]bool {
	ids := map[string]bool{}
	for raw := range strings.SplitSeq(operator.ServerLog.String(), "\n") {
		var line struct{ Level, Msg, ID string }
		if json.Unmarshal([]byte(raw), &line) == nil && line.Level == "WARN" && strings.Contains(line.Msg, "before its access was confirmed gone") {
			ids[line.ID] = true
		}
	}
	return ids
}
