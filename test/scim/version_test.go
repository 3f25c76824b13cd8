package scim_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

var strongVersion = regexp.MustCompile(`^"[^"]+"$`)

// version reads a resource's version, which ETag and meta.version both give, as a strong one.
func (s *scim) version(target string) string {
	s.t.Helper()
	exchange := s.get(target)
	version := exchange.Text("meta", "version")
	if !strongVersion.MatchString(version) || exchange.Header.Get("ETag") != version {
		s.t.Fatalf("meta.version is %q and ETag %q: want the same strong one\n%s", version, exchange.Header.Get("ETag"), exchange)
	}
	return version
}

func ifMatch(value string) okta.Edit     { return okta.WithHeader("If-Match", value) }
func ifNoneMatch(value string) okta.Edit { return okta.WithHeader("If-None-Match", value) }

// RFC 7644 section 3.14, for users and groups alike.
func TestVersions(t *testing.T) {
	s := newClient(t, nil)
	name, display := newName("versioned"), "Versioned"
	member := s.user(newName("member"), "")
	for _, kind := range []struct {
		name, endpoint, id, put, patch, status string
		patched                                int
	}{
		{"user", "/Users/", s.user(name, ""), userJSON(name, `,"title":"%s"`), patchJSON(`{"op":"replace","path":"title","value":"%s"}`), "users", http.StatusOK},
		{"group", "/Groups/", s.group(display), groupJSON(display+" %s", nil), patchJSON(`{"op":"replace","path":"displayName","value":"%s"}`), "groups", http.StatusNoContent},
	} {
		t.Run(kind.name, func(t *testing.T) {
			s := s.on(t)
			target := kind.endpoint + kind.id
			first := s.version(target)
			put, patch := fmt.Sprintf(kind.put, "one"), fmt.Sprintf(kind.patch, "two")

			notModified := s.do(http.MethodGet, target, "", ifNoneMatch(first))
			s.must(notModified.ExpectStatus(http.StatusNotModified))
			if notModified.Header.Get("ETag") != first || len(notModified.Body) != 0 {
				t.Errorf("304 has the ETag %q and %d bytes, want %s and none", notModified.Header.Get("ETag"), len(notModified.Body), first)
			}
			for _, other := range []string{`"other"`, `W/"other", "x"`} {
				s.must(s.do(http.MethodGet, target, "", ifNoneMatch(other)).ExpectStatus(http.StatusOK))
			}
			s.must(s.do(http.MethodGet, target, "", ifNoneMatch(`"x", `+first)).ExpectStatus(http.StatusNotModified))
			s.must(s.do(http.MethodGet, target, "", ifNoneMatch("*")).ExpectStatus(http.StatusNotModified))

			for _, stale := range []string{`"stale"`, "W/" + first, `"`} {
				s.refused(http.StatusPreconditionFailed, "", http.MethodPut, target, put, ifMatch(stale))
				s.refused(http.StatusPreconditionFailed, "", http.MethodPatch, target, patch, ifMatch(stale))
				s.refused(http.StatusPreconditionFailed, "", http.MethodDelete, target, "", ifMatch(stale))
			}
			if got := s.version(target); got != first {
				t.Fatalf("refused changes made another version: %s, before %s", got, first)
			}

			replaced := s.do(http.MethodPut, target, put, ifMatch(first))
			s.must(replaced.ExpectStatus(http.StatusOK))
			second := s.version(target)
			if second == first || replaced.Header.Get("ETag") != second || replaced.Text("meta", "version") != second {
				t.Errorf("versions: %s before PUT, %s after; the answer has %s", first, second, replaced.Header.Get("ETag"))
			}
			s.refused(http.StatusPreconditionFailed, "", http.MethodPut, target, put, ifMatch(first))
			s.refused(http.StatusPreconditionFailed, "", http.MethodPatch, target, patch, ifNoneMatch("*"))

			patched := s.do(http.MethodPatch, target, patch, ifMatch(`"x", `+second))
			s.must(patched.ExpectStatus(kind.patched))
			third := s.version(target)
			if third == second || patched.Header.Get("ETag") != third {
				t.Errorf("versions: %s before PATCH, %s after; the answer has %s", second, third, patched.Header.Get("ETag"))
			}
			again := s.do(http.MethodPatch, target, patch)
			s.must(again.ExpectStatus(kind.patched))
			if got := s.version(target); got != third {
				t.Errorf("a PATCH that changes nothing made version %s of %s", got, third)
			}
			s.must(s.do(http.MethodPatch, target, fmt.Sprintf(kind.patch, "three"), ifMatch("*")).ExpectStatus(kind.patched))
			s.refused(http.StatusPreconditionFailed, "", http.MethodDelete, target, "", ifMatch(third))
			s.must(s.do(http.MethodDelete, target, "", ifMatch(s.version(target))).ExpectStatus(http.StatusNoContent))
			s.refused(http.StatusNotFound, "", http.MethodPut, target, put, ifMatch("*"))
		})
	}
	t.Run("members are part of the group's version", func(t *testing.T) {
		s := s.on(t)
		target := "/Groups/" + s.group("Membership")
		first := s.version(target)
		join := patchJSON(`{"op":"add","path":"members","value":[{"value":"` + member + `"}]}`)
		s.must(s.do(http.MethodPatch, target, join, ifMatch(first)).ExpectStatus(http.StatusNoContent))
		second := s.version(target)
		if second == first {
			t.Error("a new member made no new version")
		}
		s.must(s.do(http.MethodPatch, target, join).ExpectStatus(http.StatusNoContent))
		if got := s.version(target); got != second {
			t.Errorf("adding a present member made version %s of %s", got, second)
		}
		s.refused(http.StatusPreconditionFailed, "", http.MethodPatch, target, patchJSON(`{"op":"remove","path":"members"}`), ifMatch(first))
		if members := s.get(target).Members(); len(members) != 1 {
			t.Errorf("a refused removal left the members %q", members)
		}
	})
	t.Run("a deleted member makes another version", func(t *testing.T) {
		s := s.on(t)
		leaver := s.user(newName("leaver"), "")
		target := "/Groups/" + s.group("Left", leaver, member)
		before := s.version(target)
		s.must(s.do(http.MethodDelete, "/Users/"+leaver, "").ExpectStatus(http.StatusNoContent))
		if members := s.get(target).Members(); len(members) != 1 || members[0] != member {
			t.Errorf("the group has the members %q", members)
		}
		s.soon("another version", func() error {
			if got := s.version(target); got == before {
				return fmt.Errorf("it is still %s", got)
			}
			return nil
		})
	})
	t.Run("what the controller writes is no change", func(t *testing.T) {
		s := s.on(t)
		name := newName("status")
		created := s.do(http.MethodPost, "/Users", userJSON(name, ""))
		s.must(created.ExpectUser(http.StatusCreated))
		id := created.Text("id")
		s.soon("the controller", func() error {
			if operator.User(t, s.app, id).Status.ObservedGeneration == 0 {
				return fmt.Errorf("the User has no status yet")
			}
			return nil
		})
		if got := s.version("/Users/" + id); got != created.Header.Get("ETag") {
			t.Errorf("the version is %s, after POST it was %s", got, created.Header.Get("ETag"))
		}
		group := s.do(http.MethodPost, "/Groups", groupJSON("Status", []string{id}))
		s.must(group.ExpectGroup(http.StatusCreated))
		s.soon("kubectl get groups", func() error {
			if _, row := operator.Table(t, "groups", s.app.Namespace, group.Text("id")); row["READY"] != "True" || row["MEMBERS"] != "1" {
				return fmt.Errorf("it shows %v", row)
			}
			return nil
		})
		if got := s.version("/Groups/" + group.Text("id")); got != group.Header.Get("ETag") {
			t.Errorf("the version is %s, after POST it was %s", got, group.Header.Get("ETag"))
		}
	})
}

// A version is the same wherever it is answered.
func TestVersionsAreTheSameEverywhere(t *testing.T) {
	s := newClient(t, nil)
	name := newName("listed")
	user := s.user(name, "")
	group := s.group("Listed", user, s.user(newName("listed"), ""))
	s.listed("/Users", 2)
	s.listed("/Groups", 1)
	for target, lists := range map[string][]string{
		"/Users/" + user: {"/Users", "/Users?cursor=", "/Users?sortBy=meta.created", "/Users?attributes=meta", "/Users" + query("filter", okta.Equals("userName", name))},
		"/Groups/" + group: {"/Groups", "/Groups?cursor=", "/Groups?excludedAttributes=members", "/Groups?attributes=meta,members.value",
			"/Groups" + query("filter", okta.Equals("displayName", "listed")), "/Groups" + query("filter", okta.Equals("members.value", user))},
	} {
		s.soon("versions of "+target, func() error {
			want := s.version(target)
			for _, attributes := range []string{"?attributes=meta", "?excludedAttributes=members,groups"} {
				if got := s.version(target + attributes); got != want {
					return fmt.Errorf("%s has the version %s, the whole %s", attributes, got, want)
				}
			}
			endpoint, id, _ := strings.Cut(target[1:], "/")
			for _, list := range append(lists, "/"+endpoint+query("filter", "meta.version eq "+strconv.Quote(want))) {
				answer := s.get(list)
				place := slices.Index(idsOf(answer), id)
				if place < 0 || textsOf(answer, "meta", "version")[place] != want {
					return fmt.Errorf("%s has the versions %q, want %s", list, textsOf(answer, "meta", "version"), want)
				}
			}
			answer := s.do(http.MethodPatch, target+"?attributes=meta", patchJSON(`{"op":"remove","path":"externalId"}`))
			if got := answer.Header.Get("ETag"); got != want || answer.Text("meta", "version") != want {
				return fmt.Errorf("a PATCH that changes nothing answers %s, want %s", got, want)
			}
			return nil
		})
	}
}

// A 304 says that the representation is the one the client has: with the groups that the user is in by now, under the
// names that they have by now.
func TestVersionCoversGroups(t *testing.T) {
	s := newClient(t, nil)
	target := "/Users/" + s.user(newName("joining"), "")
	first := s.version(target)
	group := s.group("Joined", target[len("/Users/"):])
	for _, step := range []struct {
		what    string
		display any
		do      func()
	}{
		{"joined", "Joined", func() {}},
		{"the group has another name", "Renamed", func() {
			s.must(s.do(http.MethodPatch, "/Groups/"+group, patchJSON(`{"op":"replace","path":"displayName","value":"Renamed"}`)).ExpectStatus(http.StatusNoContent))
		}},
		{"the group is gone", nil, func() {
			s.must(s.do(http.MethodDelete, "/Groups/"+group, "").ExpectStatus(http.StatusNoContent))
		}},
	} {
		before := s.version(target)
		step.do()
		s.soon(step.what, func() error {
			if got := s.get(target).At("groups", 0, "display"); got != step.display {
				return fmt.Errorf("groups[0] is named %v", got)
			}
			return nil
		})
		if step.what != "joined" {
			s.must(s.do(http.MethodGet, target, "", ifNoneMatch(before)).ExpectStatus(http.StatusOK))
			s.refused(http.StatusPreconditionFailed, "", http.MethodPatch, target, patchJSON(`{"op":"replace","path":"title","value":"x"}`), ifMatch(before))
		} else if s.version(target) == first {
			t.Errorf("%s: the version is still %s", step.what, first)
		}
	}
	if got := s.version(target); got != first {
		t.Errorf("without groups the version is %s again, want %s", got, first)
	}
}

// The same of a group after a member's userName changed, which is the member's display.
func TestVersionCoversDisplay(t *testing.T) {
	s := newClient(t, nil)
	id := s.user(newName("former"), "")
	target := "/Groups/" + s.group("Renamed member", id)
	before := s.version(target)
	s.must(s.do(http.MethodPatch, "/Users/"+id, patchJSON(`{"op":"replace","path":"userName","value":"`+newName("renamed")+`"}`)).ExpectStatus(http.StatusOK))
	for _, query := range []string{"", "?excludedAttributes=members"} {
		s.must(s.do(http.MethodGet, target+query, "", ifNoneMatch(before)).ExpectStatus(http.StatusOK))
	}
	s.refused(http.StatusPreconditionFailed, "", http.MethodPatch, target, patchJSON(`{"op":"remove","path":"members"}`), ifMatch(before))
	s.must(s.do(http.MethodPatch, target, patchJSON(`{"op":"remove","path":"members"}`), ifMatch(s.version(target))).ExpectStatus(http.StatusNoContent))
}

// A rename that is refused changes nothing, the version included: a client with the version may go on with it.
func TestRefusedRenameKeepsTheVersion(t *testing.T) {
	s := newClient(t, nil)
	takenName := newName("taken")
	s.user(takenName, "")
	s.group("Taken")
	for _, test := range []struct{ target, rename, put, next string }{
		{"/Users/" + s.user(newName("renaming"), ""), `{"op":"replace","path":"userName","value":"` + strings.ToUpper(takenName) + `"}`,
			userJSON(takenName, ""), `{"op":"replace","path":"title","value":"T"}`},
		{"/Groups/" + s.group("Renaming"), `{"op":"replace","path":"displayName","value":"taken"}`,
			groupJSON("TAKEN", nil), `{"op":"replace","path":"externalId","value":"T"}`},
	} {
		before := s.get(test.target)
		for range 3 {
			s.refused(http.StatusConflict, "uniqueness", http.MethodPatch, test.target, patchJSON(test.rename))
			s.refused(http.StatusConflict, "uniqueness", http.MethodPut, test.target, test.put, ifMatch(before.Header.Get("ETag")))
		}
		if after := s.get(test.target); string(after.Body) != string(before.Body) || after.Header.Get("ETag") != before.Header.Get("ETag") {
			t.Errorf("before the refused renames\n%s\nafter\n%s", before, after)
		}
		answer := s.do(http.MethodPatch, test.target, patchJSON(test.next), ifMatch(before.Header.Get("ETag")))
		if answer.Status >= 300 || answer.Header.Get("ETag") == before.Header.Get("ETag") {
			t.Errorf("a change of the version that was kept\n%s", answer)
		}
	}
}

// Of many changes made to the same version, one is made.
func TestOneChangeOfAVersion(t *testing.T) {
	s := newClient(t, nil)
	user, group := s.user(newName("contended"), ""), s.group("Contended")
	for _, target := range []string{"/Users/" + user, "/Groups/" + group} {
		version := s.version(target)
		const writers = 8
		statuses := make(chan int, writers)
		for i := range writers {
			go func() {
				body := patchJSON(fmt.Sprintf(`{"op":"replace","path":"displayName","value":"writer %d"}`, i))
				answer, err := s.http.Do(t.Context(), http.MethodPatch, target, []byte(body), ifMatch(version))
				if err != nil {
					t.Error(err)
					statuses <- 0
					return
				}
				statuses <- answer.Status
			}()
		}
		made := 0
		for range writers {
			switch status := <-statuses; {
			case status < 300 && status != 0:
				made++
			case status != http.StatusPreconditionFailed:
				t.Errorf("%s: status %d", target, status)
			}
		}
		if made != 1 {
			t.Errorf("%s: %d changes were made to one version", target, made)
		}
		if name := s.get(target).Text("displayName"); !strings.HasPrefix(name, "writer ") {
			t.Errorf("%s: displayName is %q", target, name)
		}
	}
}
