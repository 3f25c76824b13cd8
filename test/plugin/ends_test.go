package plugin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// explain shows the end of each role, what has ended and what keeps a role from being granted; diff shows what an edit of an end
// changes.
func TestEndsAreExplained(t *testing.T) {
	app := newApp(t, func(spec *v1alpha1.AppSpec) {
		spec.Attributes = append(spec.Attributes, v1alpha1.CustomAttribute{Name: "contractEnd", Type: "dateTime"})
		spec.Roles[1].UntilAttribute = "contractEnd"
	})
	create(t, app, "ada@example.com", `, "role": "developer", "regions": "us1", "contractEnd": "2099-01-31T18:00:00+01:00"`)
	create(t, app, "lin@example.com", `, "role": "developer", "regions": "us1", "contractEnd": "2001-01-31"`)
	create(t, app, "eve@example.com", `, "role": "developer", "regions": "us1"`)
	evaluated(t, app.Namespace, 3)
	a := admin(t, app.Namespace)
	harness.Eventually(t, limit, "the roles", func(context.Context) error {
		if out := a.scim("explain", "ada@example.com").out; !strings.Contains(out, "UNTIL") {
			return fmt.Errorf("printed %s", out)
		}
		return nil
	})
	a.scim("explain", "ada@example.com").expect(0, "2099-01-31T17:00:00Z").lacks("Ended")
	a.scim("explain", "lin@example.com").expect(0, "Ended; a later end gives it back", "developer in us1: 2001-01-31T00:00:00Z").lacks("UNTIL", "developer: attribute")
	a.scim("explain", "eve@example.com").expect(0, "role developer is not granted: the user has no contractEnd")
	var e struct {
		Ended []struct{ Role, Until string }
	}
	must(t, json.Unmarshal([]byte(a.scim("explain", "lin@example.com", "-o", "json").expect(0).out), &e))
	if len(e.Ended) != 1 || e.Ended[0].Role != "developer" || e.Ended[0].Until != "2001-01-31T00:00:00Z" {
		t.Errorf("-o json has %+v", e)
	}

	object := &v1alpha1.App{}
	must(t, h.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object))
	diff := func(change func(role *v1alpha1.Role)) answer {
		edited := &v1alpha1.App{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "App"}, Spec: *object.Spec.DeepCopy()}
		edited.Name, edited.Namespace = object.Name, object.Namespace
		change(&edited.Spec.Roles[1])
		manifest, err := json.Marshal(edited)
		must(t, err)
		return a.with(t.Context(), string(manifest), "diff", app.Name, "-f", "-")
	}
	diff(func(*v1alpha1.Role) {}).expect(0, "0 gain, 0 lose")
	diff(func(role *v1alpha1.Role) { role.UntilOptional = true }).expect(1, "+ eve@example.com gains developer in us1", "1 gain, 0 lose").lacks("ada@", "lin@")
	diff(func(role *v1alpha1.Role) {
		role.Until = &metav1.Time{Time: time.Date(2098, 1, 1, 0, 0, 0, 0, time.UTC)}
	}).
		expect(1, "~ ada@example.com has developer in us1 otherwise", "until 2098-01-01T00:00:00Z; was", "until 2099-01-31T17:00:00Z", "0 gain, 0 lose")
	diff(func(role *v1alpha1.Role) { role.Until = &metav1.Time{Time: time.Now().Add(-time.Minute)} }).
		expect(1, "- ada@example.com loses developer in us1", "+ ada@example.com gains viewer in us1", "1 gain, 1 lose")
	diff(func(role *v1alpha1.Role) { role.UntilAttribute = "" }).expect(1, "+ lin@example.com gains developer", "+ eve@example.com gains developer")
}

// rotate has the controller make the next token of a ScimToken with spec.rotation, and commands that send SCIM requests use that one.
func TestRotationByTheController(t *testing.T) {
	app := newApp(t, nil)
	a := admin(t, app.Namespace)
	object := h.CreateToken(t, app, v1alpha1.ScimTokenSpec{
		Generate: &v1alpha1.GenerateToken{SecretName: "rotating"},
		Rotation: &v1alpha1.TokenRotation{Every: metav1.Duration{Duration: 2160 * time.Hour}, Overlap: metav1.Duration{Duration: 168 * time.Hour}},
	})
	read := func() *v1alpha1.TokenRotationStatus {
		must(t, h.Env.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object))
		return object.Status.Rotation
	}
	harness.Eventually(t, limit, "the first token", func(context.Context) error {
		if read() == nil {
			return fmt.Errorf("status %+v", object.Status)
		}
		return nil
	})
	generation := object.Generation
	for _, refused := range [][]string{{"--name", "other"}, {"--overlap", "24h"}, {"--expires-in", "1h"}, {"-o", "yaml"}} {
		a.scim(append([]string{"token", "rotate", object.Name}, refused...)...).expect(2, "spec.rotation")
	}
	if status := read(); status.Serial != 1 {
		t.Fatalf("refused commands made token %d", status.Serial)
	}
	rotated := a.scim("token", "rotate", object.Name).expect(0, "Put the token of this Secret into the client", "opens the App until")
	status := read()
	if status.Serial != 2 || rotated.out != status.SecretName+"\n" || status.Former == nil || object.Generation != generation {
		t.Errorf("standard output %q, status %+v, generation %d", rotated.out, status, object.Generation)
	}
	rotated.lacks("scim_")
	a.scim("token", "rotate", object.Name).expect(2, "is being rotated", status.SecretName)
	if status := read(); status.Serial != 2 {
		t.Errorf("a second command in the overlap made token %d", status.Serial)
	}
	// Without a file the newest token is used: its Secret is not the first one.
	a.scim("test", app.Name, "--url", h.Server.URL).expect(0, "Secret "+status.SecretName)
	edit(t, app, func(spec *v1alpha1.AppSpec) { spec.DisplayName = "still the same token" })

	suspended := object.DeepCopy()
	suspended.Spec.Suspended = true
	must(t, h.Env.Client.Patch(t.Context(), suspended, client.MergeFrom(object)))
	a.scim("token", "rotate", object.Name).expect(2, "is suspended")
	harness.Eventually(t, limit, "the suspension", func(context.Context) error {
		if out := a.scim("test", app.Name, "--url", h.Server.URL); out.status != 2 || !strings.Contains(out.errOut, "no generated token that it accepts") {
			return fmt.Errorf("printed %s%s", out.out, out.errOut)
		}
		return nil
	})
}

// The sample of access that ends is sound, and its users hold what it says.
func TestContractors(t *testing.T) {
	objects, err := localoperator.ReadObjects(config.FS, "samples/contractors")
	must(t, err)
	must(t, localoperator.Apply(t.Context(), h.Env.Config, objects))
	a := admin(t, "contractors")
	harness.Eventually(t, limit, "the App and its token", func(context.Context) error {
		if out := a.scim("test", "contractors", "--url", h.Server.URL); out.status != 0 {
			return fmt.Errorf("printed %s%s", out.out, out.errOut)
		}
		return nil
	})
	a.scim("status").expect(0, "contractors", "Enforce")
}
