package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// The audit trail tells which roles spec.safety keeps, by which request, and when they went after all: by a release, or since the
// user left.
func TestAuditTellsWhatIsHeldAndReleased(t *testing.T) {
	operator.ShowOnFailure(t)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "audited-holds", func(spec *v1alpha1.AppSpec) {
		spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "by-group", Groups: []string{"Staff"}, Grants: spec.Roles[0].Grants})
		spec.RoleAssignment.Default = nil
		spec.Safety = &v1alpha1.Safety{MaxRemovals: 1, Window: &metav1.Duration{Duration: time.Hour}}
	})
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	name := app.Namespace + "/" + app.Name
	members, subjects := "", map[string]string{}
	for range 4 {
		userName := newName(t, "staff")
		id := create(t, scim, userJSON(userName, "")).Text("id")
		subjects[id], members = app.Subject(userName), members+fmt.Sprintf(`,{"value":%q}`, id)
	}
	made := do(t, scim, http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":[%q],"displayName":"Staff","members":[%s]}`, okta.SchemaGroup, members[1:]))
	must(t, made.ExpectStatus(http.StatusCreated))
	group := made.Text("id")
	lines := func(action string, count int) (ids []string, last auditLine) {
		t.Helper()
		harness.Eventually(t, patience, fmt.Sprintf("%d lines of %s", count, action), func(context.Context) error {
			all, _ := auditLines(operator.ControllerLog, name)
			ids = nil
			for _, line := range all {
				if line.Action != action {
					continue
				}
				if line.Count == 0 || len(line.Roles) != line.Count || line.Roles[0].Role != "by-group" || line.Result != "done" {
					t.Errorf("an incomplete line: %+v", line)
				}
				ids, last = append(ids, line.ID), line
			}
			if slices.Sort(ids); len(slices.Compact(slices.Clone(ids))) != count || len(ids) != count {
				return fmt.Errorf("they are of %v", ids)
			}
			return nil
		})
		return ids, last
	}
	lines("granted", 4)

	must(t, do(t, scim, http.MethodPut, "/Groups/"+group, fmt.Sprintf(`{"schemas":[%q],"displayName":"Staff","members":[]}`, okta.SchemaGroup)).ExpectStatus(http.StatusOK))
	emptied := awaitAudit(t, operator.ServerLog, name, "the request", func(line auditLine) bool { return line.MembersRemoved == 4 })
	revoked, _ := lines("revoked", 1)
	held, line := lines("held", 3)
	if slices.Contains(held, revoked[0]) || line.RequestID != emptied.RequestID || !slices.Contains(line.Groups, group) {
		t.Errorf("held %v, revoked %v, by %+v, and the request is %s", held, revoked, line, emptied.RequestID)
	}
	for _, id := range held {
		operator.AccessNow(t, subjects[id], harness.Everywhere(harness.Viewer)) // of the role by-group
	}

	patch(t, scim, held[0], `{"op":"replace","value":{"active":false}}`)
	operator.AccessNow(t, subjects[held[0]], harness.Nowhere())
	left := awaitAudit(t, operator.ServerLog, name, "the deactivation", func(line auditLine) bool { return line.Action == "deactivate" })
	if released, line := lines("released", 1); released[0] != held[0] || line.RequestID != left.RequestID {
		t.Errorf("released %v by %+v, want %s by %s", released, line, held[0], left.RequestID)
	}

	object := &v1alpha1.App{}
	must(t, operator.Env.Client.Get(t.Context(), client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, object))
	before := object.DeepCopy()
	object.Annotations = map[string]string{v1alpha1.AnnotationReleaseRemovals: "once"}
	must(t, operator.Env.Client.Patch(t.Context(), object, client.MergeFrom(before)))
	if released, _ := lines("released", 3); !slices.Equal(released, held) {
		t.Errorf("released %v, held were %v", released, held)
	}
	for _, id := range held {
		operator.AccessSoon(t, subjects[id], harness.Nowhere())
	}
	lines("revoked", 1)
}
