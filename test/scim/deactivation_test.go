package scim_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const badge = "urn:example:params:scim:schemas:badge:2.0:User"

// badgeOf declares an attribute of each type.
func badgeOf(spec *v1alpha1.AppSpec) {
	for name, kind := range map[string]string{"level": "integer", "score": "decimal", "contractor": "boolean"} {
		spec.Attributes = append(spec.Attributes, v1alpha1.CustomAttribute{Name: name, Schema: badge, Type: kind})
	}
	spec.Attributes = append(spec.Attributes, v1alpha1.CustomAttribute{Name: "ports", Schema: badge, Type: "integer", MultiValued: true})
}

// refusedChange is a PUT or PATCH that is refused for what it says of a user.
type refusedChange struct {
	name   string
	method string
	status int
	// body has userName and active, as true or false, put into it.
	body func(userName, active string) string
}

// refusedChanges has one of each kind. taken is another user's name.
func refusedChanges(taken string) []refusedChange {
	var changes []refusedChange
	put := func(name string, status int, extra string) {
		changes = append(changes, refusedChange{"PUT: " + name, http.MethodPut, status, func(userName, active string) string {
			return `{"schemas":["` + okta.SchemaUser + `"],"userName":"` + userName + `","active":` + active + `,"title":"new",` + extra + `}`
		}})
	}
	named := func(name string, status int, members string) {
		changes = append(changes, refusedChange{"PUT: " + name, http.MethodPut, status, func(_, active string) string {
			return `{"schemas":["` + okta.SchemaUser + `"],` + members + `"title":"new","active":` + active + `}`
		}})
	}
	patch := func(name string, status int, operations ...string) {
		set := `{"op":"replace","path":"title","value":"new"}`
		for place, order := range map[string]func(string) []string{
			"before": func(active string) []string { return append([]string{active, set}, operations...) },
			"after":  func(active string) []string { return append(append([]string{set}, operations...), active) },
		} {
			changes = append(changes, refusedChange{"PATCH: active " + place + " " + name, http.MethodPatch, status, func(_, active string) string {
				return patchJSON(order(`{"op":"replace","value":{"active":` + active + `}}`)...)
			}})
		}
	}
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprintf(`"a%d":1`, i)
	}
	tooMany, tooLarge := `{`+strings.Join(many, ",")+`}`, `"`+strings.Repeat("x", 200<<10)+`"`
	farTooLarge := `"` + strings.Repeat("x", 600<<10) + `"`
	for name, value := range map[string]string{
		"a wrong integer": `"level":"many"`, "a fraction for an integer": `"level":1.5`, "a wrong decimal": `"score":"1,5"`, "a wrong boolean": `"contractor":"perhaps"`,
		"a wrong integer in a list": `"ports":[1,"x"]`, "an object for an integer": `"level":{"a":1}`,
	} {
		put(name, 400, `"`+badge+`":{`+value+`}`)
		key, of, _ := strings.Cut(value, ":")
		patch(name, 400, `{"op":"replace","path":"`+badge+`:`+strings.Trim(key, `"`)+`","value":`+of+`}`)
		patch(name+" without a path", 400, `{"op":"add","value":{"`+badge+`":{`+value+`}}}`)
	}
	put("an object for a string", 400, `"nickName":{"a":1}`)
	put("a string for an extension", 400, `"`+badge+`":"x"`)
	put("a string for the core schema", 400, `"urn:ietf:params:scim:schemas:core:2.0:user":"x"`)
	put("a number out of range", 400, `"x":1e999`)
	put("a value too deep", 400, `"x":`+deep(40))
	put("a value far too deep", 400, `"x":`+deep(9_000))
	put("an object with too many members", 400, `"x":`+tooMany)
	put("too many members", 400, tooMany[1:len(tooMany)-1])
	put("too large a value", 413, `"x":`+tooLarge)
	put("too large a body", 413, `"x":`+farTooLarge)
	put("an externalId too long", 400, `"externalId":"`+strings.Repeat("e", 2000)+`"`)
	named("no userName", 400, "")
	named("a blank userName", 400, `"userName":" ",`)
	named("a userName with a control character", 400, `"userName":"a\u0007b",`)
	named("a userName too long", 400, `"userName":"`+strings.Repeat("u", 2000)+`",`)
	named("another user's userName", 409, `"userName":"`+taken+`",`)
	patch("an object for a string", 400, `{"op":"replace","path":"nickName","value":{"a":1}}`)
	patch("a path that is none", 400, `{"op":"replace","path":"emails[","value":1}`)
	patch("a read-only attribute", 400, `{"op":"replace","path":"id","value":"x"}`)
	patch("a removal of userName", 400, `{"op":"remove","path":"userName"}`)
	patch("a removal without a path", 400, `{"op":"remove"}`)
	patch("an operation without a value", 400, `{"op":"replace","path":"nickName"}`)
	patch("an operation that is none", 400, `{"op":"move","path":"nickName"}`)
	patch("what is no operation", 400, `7`)
	patch("no target", 400, `{"op":"replace","path":"emails[value co \"x\"].display","value":"d"}`)
	patch("another user's userName", 409, `{"op":"replace","path":"userName","value":"`+taken+`"}`)
	patch("a value too deep", 400, `{"op":"add","path":"x","value":`+deep(40)+`}`)
	patch("an object with too many members", 400, `{"op":"add","path":"x","value":`+tooMany+`}`)
	patch("too large a value", 413, `{"op":"add","path":"x","value":`+tooLarge+`}`)
	patch("too large a body", 413, `{"op":"add","path":"x","value":`+farTooLarge+`}`)
	patch("too many operations", 413, strings.Split(strings.TrimSuffix(strings.Repeat(`{"op":"remove","path":"x"};`, 1000), ";"), ";")...)
	return changes
}

// What a request says beside active: false may be refused; the leaver's access ends all the same, and nothing else changes. With
// active: true the same request is refused.
func TestRefusedChangesDeactivate(t *testing.T) {
	s := newClient(t, badgeOf)
	taken := newName("taken")
	s.user(taken, "")
	for _, change := range refusedChanges(taken) {
		t.Run(change.name, func(t *testing.T) {
			s := s.on(t)
			name := newName("leaver")
			id := s.user(name, `,"title":"old"`)
			s.refused(change.status, "", change.method, "/Users/"+id, change.body(name, "true"))
			if user := s.get("/Users/" + id); user.At("active") != true || user.Text("title") != "old" {
				t.Fatalf("a refused request changed the user\n%s", user)
			}
			for range 2 { // a client repeats what had no answer
				answer := s.do(change.method, "/Users/"+id, change.body(name, "false"))
				s.must(answer.ExpectUser(http.StatusOK))
				if answer.At("active") != false || answer.Text("title") != "old" || answer.Text("userName") != name {
					t.Fatalf("want the user inactive, and as before\n%s", answer)
				}
			}
			if user := operator.User(t, s.app, id); user.Spec.Active || user.Spec.Title != "old" || user.Spec.PendingKey != "" {
				t.Errorf("the object says %+v", user.Spec)
			}
		})
	}
}

// The same by bulk requests, where references may be to nothing, too.
func TestRefusedBulkOperationsDeactivate(t *testing.T) {
	s := newClient(t, badgeOf)
	taken := newName("taken")
	s.user(taken, "")
	changes := refusedChanges(taken)
	manager := func(name, method, bulkID string) {
		changes = append(changes, refusedChange{name, method, 0, func(userName, active string) string {
			if method == http.MethodPut {
				return userJSON(userName, `,"title":"new","manager":"bulkId:`+bulkID+`","active":`+active)
			}
			return patchJSON(`{"op":"replace","value":{"active":`+active+`,"title":"new"}}`, `{"op":"add","path":"manager","value":"bulkId:`+bulkID+`"}`)
		}})
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		manager(method+": a reference to no operation", method, "none")
		manager(method+": a reference to what was refused", method, "refused")
	}
	for _, change := range changes {
		t.Run(change.name, func(t *testing.T) {
			s := s.on(t)
			name := newName("leaver")
			id := s.user(name, `,"title":"old"`)
			operation := func(active string) string {
				return `{"method":"` + change.method + `","path":"/Users/` + id + `","data":` + change.body(name, active) + `}`
			}
			refused := s.bulk("", postUser("refused", taken, ""), operation("true"))
			if got := statuses(refused); !strings.HasPrefix(got, "409 4") {
				t.Fatalf("with active: true the statuses are %s\n%s", got, refused)
			}
			if user := operator.User(t, s.app, id); !user.Spec.Active || user.Spec.Title != "old" {
				t.Fatalf("a refused operation changed the user: %+v", user.Spec)
			}
			answer := s.bulk("", postUser("refused", taken, ""), operation("false"))
			if got := statuses(answer); got != "409 200" || answer.Text("Operations", 1, "method") != change.method {
				t.Errorf("the statuses are %s\n%s", got, answer)
			}
			if user := operator.User(t, s.app, id); user.Spec.Active || user.Spec.Title != "old" {
				t.Errorf("the object says %+v", user.Spec)
			}
		})
	}
}

// The answer waits for the access to be gone, as that of any deactivation; the log tells what was refused, and the audit trail what was done.
func TestRefusedChangeEndsAccess(t *testing.T) {
	s := newClient(t, badgeOf)
	name := newName("leaver")
	id := s.user(name, `,"role":"developer"`)
	operator.AccessSoon(t, s.app.Prefix+name, harness.Everywhere(harness.Developer))
	logged := len(operator.ServerLog.String())
	answer := s.do(http.MethodPut, "/Users/"+id, userJSON(name, `,"`+badge+`":{"level":"many"},"active":false`))
	s.must(answer.ExpectUser(http.StatusOK))
	operator.AccessNow(t, s.app.Prefix+name, harness.Nowhere())
	var told, audited bool
	for line := range strings.SplitSeq(operator.ServerLog.String()[logged:], "\n") {
		if !strings.Contains(line, id) {
			continue
		}
		told = told || strings.Contains(line, `"WARN"`) && strings.Contains(line, "Took active: false of a request") && strings.Contains(line, badge+".level: expected an integer")
		audited = audited || strings.Contains(line, `"action":"deactivate"`) && strings.Contains(line, `"attributes":["active"]`)
	}
	if !told || !audited {
		t.Errorf("the log tells what was refused: %v, and the audit trail that the user is inactive: %v", told, audited)
	}
}

// A request that cannot be read, is conditional on another version, or is not clear deactivates no user; nor does any where the App takes no deactivations.
func TestWhatDoesNotDeactivate(t *testing.T) {
	s := newClient(t, badgeOf)
	wrong := `"` + badge + `":{"level":"many"}`
	id := s.user(newName("stays"), "")
	for name, test := range map[string]struct {
		status               int
		method, body, header string
	}{
		"no JSON":                     {400, http.MethodPut, `{"active":false,"x":`, ""},
		"not UTF-8":                   {400, http.MethodPut, "{\"active\":false,\"x\":\"\xff\"}", ""},
		"no boolean":                  {400, http.MethodPut, userJSON("x", `,"active":"no"`), ""},
		"true in the end":             {400, http.MethodPatch, patchJSON(`{"op":"replace","value":{"active":false}}`, `{"op":"remove"}`, `{"op":"replace","value":{"active":true}}`), ""},
		"of another attribute":        {400, http.MethodPut, userJSON("x", `,`+wrong+`,"x":{"active":false}`), ""},
		"of another version":          {412, http.MethodPut, userJSON("x", `,`+wrong+`,"active":false`), `"other"`},
		"of another version by PATCH": {412, http.MethodPatch, patchJSON(`{"op":"replace","value":{"active":false}}`, `{"op":"remove"}`), `"other"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.on(t)
			var edits []okta.Edit
			if test.header != "" {
				edits = append(edits, okta.WithHeader("If-Match", test.header))
			}
			s.refused(test.status, "", test.method, "/Users/"+id, test.body, edits...)
			if !operator.User(t, s.app, id).Spec.Active {
				t.Error("the user is inactive")
			}
		})
	}
	off := newClient(t, func(spec *v1alpha1.AppSpec) {
		badgeOf(spec)
		spec.Provisioning.DeactivateUsers = new(false)
	})
	id = off.user(newName("stays"), "")
	off.refused(http.StatusNotImplemented, "", http.MethodPut, "/Users/"+id, userJSON("x@example.com", `,`+wrong+`,"active":false`))
	if !operator.User(t, off.app, id).Spec.Active {
		t.Error("an App that takes no deactivations took one")
	}
}

// A finalizer of others holds a user that is deleted: the answer waits for no more than the access, and the log claims nothing of it that is not so.
func TestDeletionThatAnotherFinalizerHolds(t *testing.T) {
	s := newClient(t, nil)
	name := newName("held")
	id := s.user(name, `,"role":"developer"`)
	subject := s.app.Prefix + name
	operator.AccessSoon(t, subject, harness.Everywhere(harness.Developer))
	ctx := context.WithoutCancel(t.Context())
	edit := func(change func(*v1alpha1.User)) {
		t.Helper()
		if err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			user := &v1alpha1.User{}
			if err := operator.Env.Client.Get(ctx, client.ObjectKey{Namespace: s.app.Namespace, Name: id}, user); err != nil {
				return err
			}
			change(user)
			return operator.Env.Client.Update(ctx, user)
		}); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(user *v1alpha1.User) { user.Finalizers = append(user.Finalizers, "example.com/hold") })
	t.Cleanup(func() { edit(func(user *v1alpha1.User) { user.Finalizers = nil }) })
	logged := len(operator.ServerLog.String())
	s.must(s.do(http.MethodDelete, "/Users/"+id, "").ExpectStatus(http.StatusNoContent))
	operator.AccessNow(t, subject, harness.Nowhere())
	if text := operator.ServerLog.String()[logged:]; strings.Contains(text, "before its access was confirmed gone") {
		t.Errorf("the access was gone, and the log says\n%s", text)
	}
}
