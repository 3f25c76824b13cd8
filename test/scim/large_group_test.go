package scim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	okta "github.com/scim-operator/scim-operator/test/okta/client"
)

// people creates users by a few bulk requests at once, and returns their ids.
func (s *scim) people(count int) []string {
	s.t.Helper()
	const requests = 3
	var answers [requests]*okta.Exchange
	var wait sync.WaitGroup
	for i := range requests {
		var operations []string
		for range count / requests {
			operations = append(operations, postUser(fmt.Sprint(len(operations)), newName("people"), ""))
		}
		wait.Go(func() {
			var err error
			if answers[i], err = s.http.Do(s.t.Context(), http.MethodPost, "/Bulk", []byte(`{"Operations":[`+strings.Join(operations, ",")+`]}`)); err != nil {
				s.t.Error(err)
			}
		})
	}
	wait.Wait()
	var ids []string
	for _, answer := range answers {
		s.must(answer.ExpectStatus(http.StatusOK))
		s.t.Logf("%d users by one bulk request after %s", count/requests, answer.Duration.Round(time.Millisecond))
		for i := range count / requests {
			ids = append(ids, s.created(answer, i))
		}
	}
	return ids
}

// shardReads counts the reads of MemberShards that the API server served to all clients, watches apart.
func (s *scim) shardReads() int {
	s.t.Helper()
	metrics, err := operator.Clientset.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	reads := 0
	for line := range strings.Lines(string(metrics)) {
		if !strings.HasPrefix(line, "apiserver_request_total{") || !strings.Contains(line, `resource="membershards"`) ||
			!strings.Contains(line, `verb="LIST"`) && !strings.Contains(line, `verb="GET"`) {
			continue
		}
		count, err := strconv.Atoi(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]))
		if err != nil {
			s.t.Fatal(err)
		}
		reads += count
	}
	return reads
}

// A group of 600, beyond what one object holds inline, used like any other.
func TestLargeGroup(t *testing.T) {
	s := newClient(t, nil)
	const size = 600
	ids := s.people(size)
	group := s.group("Large", ids...)
	holds := func(want []string) {
		t.Helper()
		if got := s.get("/Groups/" + group).Members(); !sameSet(got, want) {
			t.Fatalf("the group has %d members, want %d", len(got), len(want))
		}
	}
	holds(ids)
	version := s.version("/Groups/" + group + "?excludedAttributes=members")
	s.soon("kubectl get groups", func() error {
		if _, row := operator.Table(t, "groups", s.app.Namespace, group); row["MEMBERS"] != fmt.Sprint(size) || row["READY"] != "True" {
			return fmt.Errorf("it shows %v", row)
		}
		return nil
	})
	operator.NothingLargerThan(t, s.app, 256<<10)
	before := s.shardReads()
	for range 50 {
		s.get("/Groups/" + group + "?excludedAttributes=members")
	}
	if reads := s.shardReads() - before; reads >= 50 {
		t.Errorf("50 answers without members read shards %d times", reads)
	}
	change := func(operations ...string) {
		t.Helper()
		s.must(s.do(http.MethodPatch, "/Groups/"+group, patchJSON(operations...)).ExpectStatus(http.StatusNoContent))
	}
	change(`{"op":"remove","path":"members[value eq \"` + ids[0] + `\"]"}`)
	holds(ids[1:])
	if got := s.version("/Groups/" + group + "?excludedAttributes=members"); got == version {
		t.Error("a removed member made no new version")
	}
	change(`{"op":"add","path":"members","value":`+membersJSON(ids[:300])+`}`, `{"op":"remove","path":"members","value":`+membersJSON(ids[300:])+`}`)
	holds(ids[:300])
	s.must(s.do(http.MethodPut, "/Groups/"+group, groupJSON("Large still", ids)).ExpectStatus(http.StatusOK))
	holds(ids)
	for _, filter := range []string{okta.Equals("members.value", ids[599]), okta.Equals("displayName", "large STILL")} {
		s.soon(filter, func() error {
			list := s.list("/Groups" + query("filter", filter))
			if len(list.Resources()) != 1 || len(okta.MembersIn(list.Resources()[0])) != size {
				return fmt.Errorf("it finds %d groups", len(list.Resources()))
			}
			return nil
		})
	}
	s.soon("groups of a user", func() error {
		if got := s.get("/Users/"+ids[7]).At("groups", 0, "value"); got != group {
			return fmt.Errorf("groups[0] is %v", got)
		}
		return nil
	})
	s.must(s.do(http.MethodDelete, "/Groups/"+group, "").ExpectStatus(http.StatusNoContent))
	s.soon("the shards' end", func() error {
		raw, err := operator.Clientset.CoreV1().RESTClient().Get().
			AbsPath("/apis/scim-operator.io/v1alpha1/namespaces/" + s.app.Namespace + "/membershards").DoRaw(context.Background())
		if err != nil {
			return err
		}
		var list struct{ Items []json.RawMessage }
		if err := json.Unmarshal(raw, &list); err != nil || len(list.Items) > 0 {
			return fmt.Errorf("%d shards are left (error %v)", len(list.Items), err) //nolint:errorlint // err may be nil
		}
		return nil
	})
	group = s.group("Large still", ids...)
	holds(ids)
	s.must(s.do(http.MethodPut, "/Groups/"+group, groupJSON("Small", ids[:2])).ExpectStatus(http.StatusOK))
	holds(ids[:2])
	s.must(s.do(http.MethodPut, "/Groups/"+group, groupJSON("Large again", ids)).ExpectStatus(http.StatusOK))
	holds(ids)
}
