package scim_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// deep is n objects inside each other.
func deep(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }

// levels counts the objects and arrays inside each other.
func levels(value any) int {
	deepest := 0
	switch value := value.(type) {
	case map[string]any:
		for _, member := range value {
			deepest = max(deepest, levels(member))
		}
	case []any:
		for _, element := range value {
			deepest = max(deepest, levels(element))
		}
	default:
		return 0
	}
	return deepest + 1
}

// A value with some 9,990 levels made the API server unable to list any User again. Each way to write takes what is at the
// limit, and refuses one more level, and far more, with the path; and what is stored is never deeper.
func TestDepth(t *testing.T) {
	s := newClient(t, nil)
	most := protocol.MaxDepth
	id, groupID := s.user(newName("deep"), `,"x":`+deep(most-1)), s.group("deep")
	for name, test := range map[string]struct {
		method, target string
		body           func(value string) string
		around         int    // levels around the value, as it is stored
		path           string // in the detail
	}{
		"POST":                   {http.MethodPost, "/Users", func(v string) string { return userJSON(newName("deep"), `,"x":`+v) }, 1, "x.a"},
		"POST with an extension": {http.MethodPost, "/Users", func(v string) string { return userJSON(newName("deep"), `,"urn:x:y":{"x":[`+v+`]}`) }, 3, "urn:x:y.x[0].a"},
		"PUT":                    {http.MethodPut, "/Users/" + id, func(v string) string { return userJSON(newName("deep"), `,"x":`+v) }, 1, "x.a"},
		"PATCH":                  {http.MethodPatch, "/Users/" + id, func(v string) string { return patchJSON(`{"op":"add","value":{"y":` + v + `}}`) }, 1, "y.a"},
		"PATCH with a path":      {http.MethodPatch, "/Users/" + id, func(v string) string { return patchJSON(`{"op":"replace","path":"x.b","value":` + v + `}`) }, 2, "x.b.a"},
		"PATCH with a filter": {http.MethodPatch, "/Users/" + id, func(v string) string {
			return patchJSON(`{"op":"add","path":"emails[type eq \"work\"].x","value":` + v + `}`)
		}, 3, "emails[0].x.a"},
		"PATCH of an extension": {http.MethodPatch, "/Users/" + id, func(v string) string {
			return patchJSON(`{"op":"replace","path":"urn:x:y:z","value":[` + v + `]}`)
		}, 3, "urn:x:y.z[0].a"},
		"POST of a group":  {http.MethodPost, "/Groups", func(v string) string { return `{"displayName":"` + newName("deep") + `","x":` + v + `}` }, 1, "x.a"},
		"PUT of a group":   {http.MethodPut, "/Groups/" + groupID, func(v string) string { return `{"displayName":"deep","x":` + v + `}` }, 1, "x.a"},
		"PATCH of a group": {http.MethodPatch, "/Groups/" + groupID, func(v string) string { return patchJSON(`{"op":"add","path":"x.b","value":` + v + `}`) }, 2, "x.b.a"},
		"search":           {http.MethodPost, "/Users/.search", func(v string) string { return `{"count":0,"x":` + v + `}` }, 1, "x.a"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.on(t)
			if status := s.do(test.method, test.target, test.body(deep(most-test.around))).Status; status >= 300 {
				t.Errorf("at the limit: %d", status)
			}
			above := s.refused(400, "invalidValue", test.method, test.target, test.body(deep(most-test.around+1)))
			if detail := above.Text("detail"); !strings.Contains(detail, test.path) {
				t.Errorf("the detail does not name %s: %s", test.path, detail)
			}
			for _, levels := range []int{9_000, 9_990} {
				s.refused(400, "invalidValue", test.method, test.target, test.body(deep(levels)))
			}
		})
	}
	t.Run("bulk", func(t *testing.T) {
		s := s.on(t)
		create := func(value string) string {
			return `{"method":"POST","path":"/Users","bulkId":"` + newName("b") + `","data":` + userJSON(newName("bulk"), `,"x":`+value) + `}`
		}
		answer := s.bulk("", create(deep(most-1)), create(deep(most)), create(deep(9_000)), create("1"))
		if got := statuses(answer); got != "201 400 400 201" {
			t.Errorf("statuses %s, want only those beyond the limit refused", got)
		}
		s.refused(400, "invalidValue", http.MethodPost, "/Bulk", `{"schemas":["`+bulkRequest+`"],"Operations":[`+create(deep(20_000))+`]}`)
	})
	t.Run("what is stored", func(t *testing.T) {
		var users v1alpha1.UserList
		var groups v1alpha1.GroupList
		for _, list := range []client.ObjectList{&users, &groups} {
			if err := operator.Env.Client.List(t.Context(), list, client.InNamespace(s.app.Namespace)); err != nil {
				t.Fatal(err)
			}
		}
		deepest, kept := 0, []any{}
		for i := range users.Items {
			kept = append(kept, users.Items[i].Spec.Attributes, users.Items[i].Spec.Extensions)
		}
		for i := range groups.Items {
			kept = append(kept, groups.Items[i].Spec.Attributes, groups.Items[i].Spec.Extensions)
		}
		for _, object := range kept {
			encoded, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			var value any
			if err := json.Unmarshal(encoded, &value); err != nil {
				t.Fatal(err)
			}
			deepest = max(deepest, levels(value))
		}
		if deepest != most {
			t.Errorf("what is stored has %d levels at most, want %d", deepest, most)
		}
	})
	t.Run("a deactivation of what is at the limit", func(t *testing.T) {
		s := s.on(t)
		id := s.user(newName("leaver"), `,"x":`+deep(most-1))
		answer := s.do(http.MethodPatch, "/Users/"+id, patchJSON(`{"op":"replace","value":{"active":false}}`))
		s.must(answer.ExpectStatus(http.StatusOK))
		s.must(s.do(http.MethodPut, "/Users/"+id, string(answer.Body)).ExpectStatus(http.StatusOK))
	})
}
