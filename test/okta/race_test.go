package okta_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

const (
	racers = 16
	rounds = 5
	prizes = 3 // names contended for in a round
)

// race is 16 clients of two server processes that want the same names.
type race struct {
	app     harness.App
	servers [2]*okta.Client
	// own are users with names of their own, for each prize one a racer: a racer that renames takes part with it.
	own [prizes][racers]string
}

// Two effective users never share a name: in each round every racer wants each of the names, by creating a user or by
// renaming its own, spelled in many ways. One wins, all others are told that the name is taken, and both servers agree on
// the winner.
func TestTwoServersRaceForNames(t *testing.T) {
	operator.ShowOnFailure(t)
	second, err := operator.RunServer(t.Context(), "")
	must(t, err)
	harness.StopAtEnd(t, second)
	app := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "race", nil)
	operator.Opens(t, second, app)
	r := &race{app: app}
	for i, server := range []string{operator.Server.URL, second.URL} {
		r.servers[i] = okta.New(server+"/scim/v2", "Bearer "+app.Token, okta.Template)
		r.servers[i].Retries = 20
		t.Cleanup(r.servers[i].Close)
	}
	for prize := range prizes {
		for racer := range racers {
			r.own[prize][racer] = create(t, r.servers[racer%2], userJSON(newName(t, "racer"), "")).Text("id")
		}
	}
	for round := range rounds {
		// The names are the same in each round: what the last one left must be free again.
		winners := map[string][]string{}
		for prize := range prizes {
			name := fmt.Sprintf("prize%d@example.com", prize)
			winners[name] = r.contend(t, name, func(racer int) string {
				if renames := round%3 == 1 || round%3 == 2 && racer/2%2 == 0; renames {
					return r.own[prize][racer]
				}
				return ""
			})
		}
		for name, ids := range winners {
			if len(ids) != 1 {
				t.Fatalf("round %d: %s was won by %d racers: %q", round, name, len(ids), ids)
			}
		}
		r.agree(t, winners)
		r.clear(t, winners)
	}
}

// contend lets all racers try for a name at the same moment, and returns the ids of the winners. renamed is the user that a
// racer renames, or "" where it creates one.
func (r *race) contend(t *testing.T, name string, renamed func(racer int) string) []string {
	t.Helper()
	var mu sync.Mutex
	var won []string
	var problems []error
	begin := make(chan struct{})
	var wait sync.WaitGroup
	for racer := range racers {
		wait.Go(func() {
			<-begin
			id, err := r.try(t.Context(), r.servers[racer%2], spell(name, racer), renamed(racer))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems = append(problems, err)
			} else if id != "" {
				won = append(won, id)
			}
		})
	}
	close(begin)
	wait.Wait()
	if err := errors.Join(problems...); err != nil {
		t.Fatal(err)
	}
	return won
}

// spell writes a name in a way of its own that is the same name all the same.
func spell(name string, racer int) string {
	letters := []byte(name)
	for bit := range 4 {
		if racer>>bit&1 == 1 {
			letters[bit] = strings.ToUpper(name)[bit]
		}
	}
	return string(letters)
}

// try returns the id of the user that got the name, or "" where it is taken.
func (r *race) try(ctx context.Context, server *okta.Client, name, renamed string) (string, error) {
	method, target, body, success := http.MethodPost, "/Users", userJSON(name, fmt.Sprintf(`,"externalId":"00u%d"`, names.Add(1))), http.StatusCreated
	if renamed != "" {
		method, target, success = http.MethodPatch, "/Users/"+renamed, http.StatusOK
		body = patchOf(`{"op":"replace","value":{"userName":"` + name + `"}}`)
	}
	answer, err := server.Do(ctx, method, target, []byte(body))
	if err != nil {
		return "", err
	}
	if answer.Status == http.StatusConflict {
		return "", answer.ExpectError(http.StatusConflict, "uniqueness")
	}
	if err := answer.ExpectUser(success); err != nil {
		return "", err
	}
	return answer.Text("id"), nil
}

// agree asks the claims and both servers for the holder of each name, by name and by each user that exists.
func (r *race) agree(t *testing.T, winners map[string][]string) {
	t.Helper()
	claims := &v1alpha1.NameClaimList{}
	must(t, operator.Env.Client.List(t.Context(), claims, client.InNamespace(r.app.Namespace)))
	holders := map[string]string{}
	for _, claim := range claims.Items {
		if former, twice := holders[claim.Spec.Value]; twice {
			t.Errorf("two claims hold %s: for %s and for %s", claim.Spec.Value, former, claim.Spec.Holder)
		}
		holders[claim.Spec.Value] = claim.Spec.Holder
	}
	users := &v1alpha1.UserList{}
	must(t, operator.Env.Client.List(t.Context(), users, client.InNamespace(r.app.Namespace)))
	for number, server := range r.servers {
		effective := map[string]string{}
		for _, user := range users.Items {
			answer := do(t, server, http.MethodGet, "/Users/"+user.Name, "")
			if answer.Status == http.StatusNotFound {
				continue
			}
			must(t, answer.ExpectUser())
			key := strings.ToLower(answer.Text("userName"))
			if other, twice := effective[key]; twice {
				t.Errorf("server %d shows two users named %s: %s and %s", number, key, other, user.Name)
			}
			effective[key] = user.Name
			if holders[key] != user.Name {
				t.Errorf("server %d shows %s as %s; that claim names %q", number, key, user.Name, holders[key])
			}
		}
		for name, ids := range winners {
			if effective[name] != ids[0] {
				t.Errorf("server %d shows %q as %s, won by %s", number, effective[name], name, ids[0])
			}
			if got := find(t, server, okta.Equals("userName", strings.ToUpper(name))); !slices.Equal(got, ids) {
				t.Errorf("server %d finds %q as %s, won by %s", number, got, name, ids[0])
			}
		}
	}
}

// clear frees the names: a created user is deleted, a renamed one gets another name.
func (r *race) clear(t *testing.T, winners map[string][]string) {
	t.Helper()
	for i, name := range slices.Sorted(maps.Keys(winners)) {
		id, server := winners[name][0], r.servers[i%2]
		if slices.ContainsFunc(r.own[:], func(own [racers]string) bool { return slices.Contains(own[:], id) }) {
			patch(t, server, id, `{"op":"replace","value":{"userName":"`+newName(t, "racer")+`"}}`)
			continue
		}
		must(t, do(t, server, http.MethodDelete, "/Users/"+id, "").ExpectStatus(http.StatusNoContent))
	}
}

// Two users swap their names again and again while others look on: at no time do two have the same.
func TestSwappedNames(t *testing.T) {
	client, _ := ownApp(t, okta.Template)
	client.Retries = 20
	one, two, third := newName(t, "one"), newName(t, "two"), newName(t, "third")
	first := create(t, client, userJSON(one, "")).Text("id")
	second := create(t, client, userJSON(two, "")).Text("id")
	rename := func(id, name string) string {
		return patch(t, client, id, `{"op":"replace","value":{"userName":"`+name+`"}}`).Text("userName")
	}
	for range 5 {
		rename(first, third)
		rename(second, one)
		rename(first, two)
		for name, id := range map[string]string{one: second, two: first} {
			if got := find(t, client, okta.Equals("userName", name)); !slices.Equal(got, []string{id}) {
				t.Fatalf("%s is %q, want %q", name, got, id)
			}
		}
		first, second = second, first
	}
}
