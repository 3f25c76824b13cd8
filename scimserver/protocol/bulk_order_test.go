package protocol

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Which operations wait for which is written as in "1<0", for the second waits for the first.
func TestDependencies(t *testing.T) {
	post := func(endpoint, bulkID, data string) string {
		return fmt.Sprintf(`{"method":"POST","path":%q,"bulkId":%q,"data":%s}`, endpoint, bulkID, data)
	}
	put := func(path, data string) string { return fmt.Sprintf(`{"method":"PUT","path":%q,"data":%s}`, path, data) }
	patch := func(path, operation string) string {
		return fmt.Sprintf(`{"method":"PATCH","path":%q,"data":{"Operations":[%s]}}`, path, operation)
	}
	remove := func(path string) string { return fmt.Sprintf(`{"method":"DELETE","path":%q}`, path) }
	// The directory has the user x, named Old, known to the client as e, and the group g, named Team.
	names := func(endpoint, id string) map[string]string {
		switch endpoint + id {
		case "Usersx":
			return map[string]string{"userName": "Old", "externalId": "e"}
		case "Groupsg":
			return map[string]string{"displayName": "Team"}
		}
		return nil
	}
	for _, c := range []struct {
		name       string
		operations []string
		want       string
	}{
		{"strangers", []string{post("/Users", "a", `{"userName":"a"}`), post("/Users", "b", `{"userName":"b"}`), remove("/Users/y"), put("/Users/z", `{"userName":"z"}`)}, ""},
		{"without a bulkId", []string{`{"method":"POST","path":"/Users","data":{"userName":"a"}}`, `{"method":"POST","path":"/Users","data":{"userName":"b"}}`}, ""},
		{"one resource", []string{put("/Users/y", `{}`), patch("/Users/y", `{"op":"remove","path":"title"}`), remove("Users/%79")}, "1<0 2<1"},
		{"one name", []string{post("/Users", "a", `{"userName":"N"}`), post("/Users", "b", `{"UserName":"n"}`)}, "1<0"},
		{"one name under a URN", []string{post("/Users", "a", `{"urn:x:user":{"userName":"N"}}`), post("/Users", "b", `{"urn:ietf:params:scim:schemas:core:2.0:User:userName":"n"}`)}, "1<0"},
		{"one name by path", []string{patch("/Users/y", `{"op":"replace","path":"userName","value":"n"}`), patch("/Users/z", `{"op":"replace","value":{"userName":"N"}}`)}, "1<0"},
		{"a name in a list", []string{patch("/Users/y", `{"op":"replace","path":"userName","value":["n"]}`), post("/Users", "b", `{"userName":"n"}`)}, "1<0"},
		{"names of users and of groups", []string{post("/Users", "a", `{"userName":"n","displayName":"n"}`), post("/Groups", "b", `{"displayName":"n"}`), post("/Groups", "c", `{"displayName":"N"}`)}, "2<1"},
		{"a name that becomes free", []string{remove("/Users/x"), post("/Users", "a", `{"userName":"OLD"}`)}, "1<0"},
		{"a person that comes back", []string{post("/Users", "a", `{"userName":"new","externalId":"e"}`), patch("/Users/x", `{"op":"remove","path":"title"}`)}, "1<0"},
		{"externalId is exact", []string{post("/Users", "a", `{"userName":"new","externalId":"E"}`), remove("/Users/x")}, ""},
		{"a group's name that becomes free", []string{put("/Groups/g", `{"displayName":"Other"}`), post("/Groups", "a", `{"displayName":"team"}`), post("/Groups", "b", `{"displayName":"other"}`)}, "1<0 2<0"},
		{"a name that a created resource gives up", []string{post("/Users", "a", `{"userName":"n"}`), put("/Users/bulkId:a", `{"userName":"m"}`), post("/Users", "b", `{"userName":"n"}`)}, "1<0 2<1"},
		{"references", []string{post("/Users", "a", `{"userName":"a"}`), post("/Groups", "g1", `{"members":[{"value":"bulkId:a"}]}`), post("/Groups", "g2", `{"members":[{"value":"bulkId:a"}]}`), remove("/Users/bulkId:a")}, "1<0 2<0 3<0 3<1 3<2"},
		{"a reference to what comes later", []string{post("/Groups", "g1", `{"members":[{"value":"bulkId:a"}]}`), post("/Users", "a", `{"userName":"a"}`)}, "0<1"},
		{"members that are changed, too", []string{remove("/Users/y"), patch("/Groups/g", `{"op":"add","path":"members","value":[{"value":"y"}]}`), patch("/Groups/h", `{"op":"remove","path":"members[value eq \"y\"]"}`), put("/Users/y", `{}`)}, "1<0 2<0 3<0 3<1 3<2"},
		{"members that are not", []string{patch("/Groups/g", `{"op":"add","path":"members","value":[{"value":"y"}]}`), patch("/Groups/h", `{"op":"add","path":"members","value":[{"value":"y"}]}`)}, ""},
		{"on a version", []string{remove("/Users/y"), `{"method":"DELETE","path":"/Users/z","version":"1"}`, remove("/Users/w")}, "1<0 2<1"},
		{"members by name", []string{put("/Users/y", `{}`), patch("/Groups/g", `{"op":"remove","path":"members[display eq \"n\"]"}`), put("/Users/z", `{}`)}, "1<0 2<1"},
		{"refused", []string{`{"method":"GET"}`, remove("/Users/y")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := decodeBulk(t, bulkBody(c.operations...))
			steps := request.Plan()
			var got []string
			for at, after := range request.Dependencies(steps, names) {
				slices.Sort(after)
				for _, before := range slices.Compact(after) {
					if before >= at {
						t.Errorf("step %d waits for %d, which comes later", at, before)
					}
					got = append(got, fmt.Sprintf("%d<%d", steps[at].Index, steps[before].Index))
				}
			}
			slices.Sort(got)
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("dependencies %q, want %q", text, c.want)
			}
		})
	}
}

// Both steps of an operation in a circle wait for what they refer to. A step that refers to it waits for the first.
func TestDependenciesOfACircle(t *testing.T) {
	post := func(bulkID, refers string) string {
		return fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":%q,"data":{"userName":%q,"x":"bulkId:%s"}}`, bulkID, bulkID, refers)
	}
	request := decodeBulk(t, bulkBody(post("a", "b"), post("b", "a")))
	steps := request.Plan()
	if got := planText(steps); got != "1part 0 1rest" {
		t.Fatalf("plan %s", got)
	}
	after := request.Dependencies(steps, nil)
	if !slices.Contains(after[1], 0) || !slices.Contains(after[2], 0) || !slices.Contains(after[2], 1) {
		t.Errorf("dependencies %v", after)
	}
}
