package scim_test

import (
	"fmt"
	"net/http"
	"regexp"
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
			t.Errorf("adding who is there made version %s of %s", got, second)
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
	t.Run("the same version in lists", func(t *testing.T) {
		s := s.on(t)
		name := newName("listed")
		id := s.user(name, "")
		list := s.list("/Users" + query("filter", okta.Equals("userName", name)))
		if got, want := textsOf(list, "meta", "version"), s.version("/Users/"+id); len(got) != 1 || got[0] != want {
			t.Errorf("the list has the versions %q, want %s", got, want)
		}
	})
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
