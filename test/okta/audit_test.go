package okta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// auditLine is one line of the audit trail, from the server or the controller.
type auditLine struct {
	RequestIDs, Groups []string

	Time, Logger, RequestID, Action, Resource, ID, App, TokenID, Client, Result string

	Attributes, Added, Removed   []string
	MembersAdded, MembersRemoved int
	Count                        int
	Milliseconds                 *int64
	Roles                        []struct {
		Role, Scope string
		Reasons     []string
	}
}

func (l *auditLine) isOf(action, user, role string) bool {
	return l.Action == action && l.ID == user && len(l.Roles) > 0 && l.Roles[0].Role == role
}

// auditLines are those of an App, in order, and their text.
func auditLines(log *harness.Log, app string) (lines []auditLine, text string) {
	for raw := range strings.SplitSeq(log.String(), "\n") {
		var line auditLine
		if json.Unmarshal([]byte(raw), &line) == nil && line.Logger == "audit" && line.App == app {
			lines, text = append(lines, line), text+raw+"\n"
		}
	}
	return lines, text
}

// One log line tells what removed Jane from the group, when and by which credential, and another what access followed.
func TestAuditTrail(t *testing.T) {
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "audited", func(spec *v1alpha1.AppSpec) {
		spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "by-group", Groups: []string{"Engineers"}, Grants: spec.Roles[0].Grants})
	})
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	name := app.Namespace + "/" + app.Name
	person := okta.Assign(okta.NewProfile(newName(t, "jane.secretname")))
	person.Profile.Custom = okta.ObjectOf("role", harness.Developer)
	say(t)(scim.Create(t.Context(), person))
	operator.AccessSoon(t, app.Subject(person.Profile.UserName), harness.Everywhere(harness.Developer))
	send := func(method, target, body string, statuses ...int) *okta.Exchange {
		t.Helper()
		answer, err := scim.Do(t.Context(), method, target, []byte(body))
		if err == nil {
			err = answer.ExpectStatus(statuses...)
		}
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	patch := func(operation string) string {
		return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operation + `]}`
	}
	group := send(http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":["%s"],"displayName":"Engineers","members":[{"value":%q},{"value":"stranger-aaaaaaaaaa"}]}`, okta.SchemaGroup, person.ID), 201).Text("id")
	harness.Eventually(t, patience, "the role of the group's members", func(ctx context.Context) error {
		user := &v1alpha1.User{}
		if err := operator.Env.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: person.ID}, user); err != nil {
			return err
		}
		if !strings.Contains(user.Status.RoleNames, "by-group") {
			return fmt.Errorf("the roles are %s", user.Status.RoleNames)
		}
		return nil
	})
	send(http.MethodPatch, "/Groups/"+group, patch(fmt.Sprintf(`{"op":"add","path":"members","value":[{"value":%q}]}`, person.ID)), 204) // is one already
	send(http.MethodPatch, "/Groups/"+group, patch(fmt.Sprintf(`{"op":"remove","path":"members[value eq \"%s\"]"}`, person.ID)), 204)
	harness.Eventually(t, patience, "the loss of the role", func(context.Context) error {
		if _, lines := auditLines(operator.ControllerLog, name); !strings.Contains(lines, `"action":"revoked"`) {
			return fmt.Errorf("no line says so: %s", lines)
		}
		return nil
	})
	send(http.MethodPatch, "/Groups/"+group, patch(`{"op":"replace","path":"displayName","value":"Renamed"}`), 204)
	send(http.MethodPatch, "/Users/"+person.ID, patch(`{"op":"replace","path":"title","value":"secret title"}`), 200)
	send(http.MethodPatch, "/Users/"+person.ID, patch(`{"op":"replace","path":"title","value":"secret title"}`), 200) // changes nothing
	send(http.MethodPatch, "/Users/"+person.ID, patch(`{"op":"replace","value":{"active":false}}`), 200)
	send(http.MethodPatch, "/Users/"+person.ID, patch(`{"op":"replace","value":{"active":true}}`), 200)
	operator.AccessSoon(t, app.Subject(person.Profile.UserName), harness.Everywhere(harness.Developer))
	send(http.MethodDelete, "/Groups/"+group, "", 204)
	send(http.MethodDelete, "/Users/"+person.ID, "", 204)

	var lines []auditLine
	var text string
	harness.Eventually(t, patience, "the server's last line", func(context.Context) error {
		if lines, text = auditLines(operator.ServerLog, name); !strings.Contains(text, `"action":"delete","resource":"User"`) {
			return fmt.Errorf("it is not there: %s", text)
		}
		return nil
	})
	var got []string
	requests := map[string]string{}
	for _, line := range lines {
		what := strings.TrimSpace(fmt.Sprintf("%s %s %s +%d%v -%d%v", line.Resource, line.Action, strings.Join(line.Attributes, ","), line.MembersAdded, line.Added, line.MembersRemoved, line.Removed))
		if line.Action == "create" {
			what = fmt.Sprintf("%s create +%d%v", line.Resource, line.MembersAdded, line.Added)
		}
		got = append(got, what)
		requests[line.Resource+" "+line.Action] = line.RequestID
		if line.Time == "" || line.RequestID == "" || line.TokenID == "" || line.Client != "127.0.0.1" || line.Result != "done" || line.ID != map[string]string{"User": person.ID, "Group": group}[line.Resource] {
			t.Errorf("an incomplete line: %+v", line)
		}
	}
	want := []string{
		"User create +0[]", fmt.Sprintf("Group create +1[%s]", person.ID), fmt.Sprintf("Group members  +0[] -1[%s]", person.ID),
		"Group rename displayName +0[] -0[]", "User update title +0[] -0[]", "User deactivate active +0[] -0[]",
		"User activate active +0[] -0[]", "Group delete  +0[] -0[]", "User delete  +0[] -0[]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the server's lines are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// The controller's lines name the request that led to them, where one did.
	var access []auditLine
	var controllerText string
	harness.Eventually(t, patience, "the controller's audit lines", func(context.Context) error {
		access, controllerText = auditLines(operator.ControllerLog, name)
		for _, wanted := range []string{"User create", "User deactivate", "User activate"} {
			if !slices.ContainsFunc(access, func(line auditLine) bool { return line.RequestID == requests[wanted] && line.Milliseconds != nil }) {
				return fmt.Errorf("no line of the request of %s: %s", wanted, controllerText)
			}
		}
		for action, request := range map[string]string{"granted": requests["Group create"], "revoked": requests["Group members"]} {
			if !slices.ContainsFunc(access, func(line auditLine) bool {
				return line.Action == action && line.RequestID == request && slices.Equal(line.Groups, []string{group}) && line.Milliseconds != nil && line.Roles[0].Role == "by-group"
			}) {
				return fmt.Errorf("no line says that %s %s the role of the group: %s", request, action, controllerText)
			}
		}
		if !slices.ContainsFunc(access, func(line auditLine) bool {
			return line.Action == "revoked" && line.RequestID == requests["User delete"] && line.Roles[0].Role == harness.Developer
		}) {
			return fmt.Errorf("no line says what the deletion took: %s", controllerText)
		}
		return nil
	})
	for _, line := range access {
		if line.ID != person.ID || line.Result != "done" || line.Count == 0 || len(line.Roles) != line.Count {
			t.Errorf("an incomplete line: %+v", line)
		}
		for _, role := range line.Roles {
			if role.Scope == "" || line.Action == "granted" && len(role.Reasons) == 0 {
				t.Errorf("a role without scope or reason: %+v", line)
			}
		}
	}
	for _, secret := range []string{person.Profile.UserName, "secret", app.Token, "Engineers", "Renamed", "stranger"} {
		for from, text := range map[string]string{"server": text, "controller": controllerText} {
			if secret == "" || strings.Contains(strings.ReplaceAll(strings.ReplaceAll(text, person.ID, ""), group, ""), secret) {
				t.Errorf("the audit trail of the %s holds a value: %q", from, secret)
			}
		}
	}
}

// Which credential took Jane out of the group, and when? From what one group cost her, back to the request, by the lines
// alone.
func TestAuditAnswersWhoTookAMemberOut(t *testing.T) {
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "audited-groups", func(spec *v1alpha1.AppSpec) {
		spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "by-group", Groups: []string{"Crew"}, Grants: spec.Roles[0].Grants})
	})
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	name := app.Namespace + "/" + app.Name
	const many = 501 // in shards
	others := manyUsers(t, scim, many-1)
	jane := okta.Assign(okta.NewProfile(newName(t, "jane")))
	say(t)(scim.Create(t.Context(), jane))
	operator.AccessSoon(t, app.Subject(jane.Profile.UserName), harness.Everywhere(harness.Viewer))
	awaitAudit(t, operator.ControllerLog, name, "her first grant", func(line auditLine) bool { return line.Action == "granted" && line.ID == jane.ID })
	var members []string
	for _, id := range append([]string{jane.ID}, others...) {
		members = append(members, fmt.Sprintf(`{"value":%q}`, id))
	}
	do := func(method, target, body string, status int) *okta.Exchange {
		t.Helper()
		answer, err := scim.Do(t.Context(), method, target, []byte(body))
		if err == nil {
			err = answer.ExpectStatus(status)
		}
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for size, kind := range map[int]string{2: "inline", many: "in shards"} {
		t.Run(kind, func(t *testing.T) {
			group := do(http.MethodPost, "/Groups", fmt.Sprintf(`{"schemas":["%s"],"displayName":"Crew","members":[%s]}`, okta.SchemaGroup, strings.Join(members[:size], ",")), 201).Text("id")
			granted := awaitAudit(t, operator.ControllerLog, name, "the grant by the new group", func(line auditLine) bool {
				return line.isOf("granted", jane.ID, "by-group") && slices.Contains(line.Groups, group)
			})
			created := awaitAudit(t, operator.ServerLog, name, "the creation", func(line auditLine) bool { return line.ID == group && line.Action == "create" })
			if granted.RequestID != created.RequestID || created.MembersAdded != size {
				t.Errorf("created by %+v, granted by %+v", created, granted)
			}
			do(http.MethodPatch, "/Groups/"+group, fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"remove","path":"members[value eq \"%s\"]"}]}`, jane.ID), 204)
			revoked := awaitAudit(t, operator.ControllerLog, name, "the revocation", func(line auditLine) bool {
				return line.isOf("revoked", jane.ID, "by-group") && slices.Contains(line.Groups, group)
			})
			removed := awaitAudit(t, operator.ServerLog, name, "the removal", func(line auditLine) bool { return line.RequestID == revoked.RequestID })
			switch {
			case removed.Resource != "Group" || removed.ID != group || removed.Action != "members" || !slices.Equal(removed.Removed, []string{jane.ID}):
				t.Errorf("the request of the revocation is %+v", removed)
			case removed.TokenID == "" || removed.Client != "127.0.0.1" || removed.Time == "":
				t.Errorf("the line does not tell when, from where and by which credential: %+v", removed)
			case revoked.Count != 2 || revoked.Roles[0].Role != "by-group" || revoked.Milliseconds == nil:
				t.Errorf("the line does not tell what went, and how fast: %+v", revoked)
			}
			do(http.MethodPatch, "/Groups/"+group, fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[{"value":%q}]}]}`, jane.ID), 204)
			awaitAudit(t, operator.ControllerLog, name, "the second grant", func(line auditLine) bool {
				return line.isOf("granted", jane.ID, "by-group") && slices.Contains(line.Groups, group) && line.RequestID != created.RequestID
			})
			do(http.MethodDelete, "/Groups/"+group, "", 204)
			deleted := awaitAudit(t, operator.ServerLog, name, "the deletion", func(line auditLine) bool { return line.ID == group && line.Action == "delete" })
			awaitAudit(t, operator.ControllerLog, name, "the revocation by the deletion", func(line auditLine) bool {
				return line.isOf("revoked", jane.ID, "by-group") && line.RequestID == deleted.RequestID && slices.Contains(line.Groups, group)
			})
		})
	}
}

// A role that the controller may not bind was never granted: no line says that it was, and none that it was taken.
func TestAuditTellsNothingOfWhatWasNeverBound(t *testing.T) {
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "audited-refusals", func(spec *v1alpha1.AppSpec) {
		spec.Roles = append(spec.Roles, v1alpha1.Role{Name: "forbidden", Grants: []v1alpha1.Grant{{ClusterRole: "cluster-admin"}}})
		spec.RoleAssignment.FromAttributes = []string{"roles"}
	})
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	name := app.Namespace + "/" + app.Name
	person := okta.Assign(okta.NewProfile(newName(t, "refused")))
	person.Profile.Custom = okta.ObjectOf("roles", []any{okta.ObjectOf("value", harness.Developer), okta.ObjectOf("value", "forbidden")})
	say(t)(scim.Create(t.Context(), person))
	operator.AccessSoon(t, app.Subject(person.Profile.UserName), harness.Everywhere(harness.Developer))
	only := func(line auditLine, action string) {
		t.Helper()
		for _, role := range line.Roles {
			if role.Role != harness.Developer {
				t.Errorf("%s says %+v, want the role that was bound alone", action, line)
			}
		}
	}
	only(awaitAudit(t, operator.ControllerLog, name, "the grant", func(line auditLine) bool { return line.Action == "granted" }), "granted")
	say(t)(scim.Deactivate(t.Context(), person))
	only(awaitAudit(t, operator.ControllerLog, name, "the revocation", func(line auditLine) bool { return line.Action == "revoked" }), "revoked")
}

// awaitAudit returns the first line of an App that is as wanted.
func awaitAudit(t *testing.T, log *harness.Log, app, what string, wanted func(auditLine) bool) (found auditLine) {
	t.Helper()
	// All members of a group of hundreds are evaluated with the one that is looked for.
	harness.Eventually(t, patience, what, func(context.Context) error {
		lines, _ := auditLines(log, app)
		i := slices.IndexFunc(lines, wanted)
		if i < 0 {
			return fmt.Errorf("none of %d lines tells it", len(lines))
		}
		found = lines[i]
		return nil
	})
	return found
}

// Every answer has a line with its status, under the id that the audit line of the change has; a refused request has no other.
func TestEveryResponseIsLogged(t *testing.T) {
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "answered", nil)
	scim := operator.Client(operator.Server, "/scim/v2", app, okta.Template)
	name := app.Namespace + "/" + app.Name
	person := okta.Assign(okta.NewProfile(newName(t, "answered")))
	say(t)(scim.Create(t.Context(), person))
	refused, err := scim.Do(t.Context(), http.MethodPatch, "/Users/"+person.ID, []byte(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":"perhaps"}]}`))
	must(t, err)
	must(t, refused.ExpectStatus(400))
	type answer struct {
		Msg, RequestID, App, TokenID, Method, Detail string
		Status                                       int
	}
	harness.Eventually(t, patience, "the lines of both answers", func(context.Context) error {
		statuses := map[string]int{}
		detail := ""
		for raw := range strings.SplitSeq(operator.ServerLog.String(), "\n") {
			var line answer
			if json.Unmarshal([]byte(raw), &line) == nil && line.Msg == "Answered" && line.App == name && line.TokenID != "" {
				statuses[line.RequestID] = line.Status
				if line.Status == 400 {
					detail = line.Detail
				}
			}
		}
		changes, _ := auditLines(operator.ServerLog, name)
		if len(changes) != 1 || statuses[changes[0].RequestID] != 201 {
			return fmt.Errorf("the changes are %+v, the answers %v", changes, statuses)
		}
		if !strings.Contains(detail, "active") || strings.Contains(detail, person.Profile.UserName) {
			return fmt.Errorf("the refusal is logged as %q", detail)
		}
		return nil
	})
}
