package protocol

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func bindSort(t testing.TB, s *SchemaSet, by, order string) Sort {
	t.Helper()
	parsed, err := ParseSort(by, order)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := parsed.Bind(s)
	if err != nil {
		t.Fatal(err)
	}
	return bound
}

func TestSort(t *testing.T) {
	s := testSchemas(t)
	// Each list is in ascending order; "=" before a value says that it is equal to the one before.
	for _, c := range []struct {
		by    string
		users []string
	}{
		{"userName", []string{`{"userName":"ada"}`, `{"userName":"Bob"}`, `={"userName":"BOB"}`, `{"userName":"cid"}`, `{}`}},
		{"externalId", []string{`{"externalId":"B"}`, `{"externalId":"a"}`, `{"externalId":"b"}`, `{}`, `={"title":"x"}`}},
		{"NAME.familyname", []string{`{"name":{"familyName":"Émile"}}`, `={"name":{"familyName":"éMILE"}}`, `{"name":{"givenName":"A"}}`}},
		{"active", []string{`{"active":false}`, `{"active":true}`, `{}`}},
		{"emails", []string{`{"emails":[{"value":"z"},{"value":"A","primary":true}]}`, `{"emails":[{"value":"b"},{"value":"a"}]}`, `{"emails":[{"value":"c","primary":false}]}`, `{"emails":[{"display":"x"}]}`, `={}`}},
		{"emails.type", []string{`{"emails":[{"value":"z","type":"home"}]}`, `{"emails":[{"value":"b","type":"Work"}]}`, `{"emails":[{"value":"c"}]}`}},
		{"teams", []string{`{"teams":["a","z"]}`, `{"teams":["B"]}`, `{}`}},
		{spaceURN + ":level", []string{`{"` + spaceURN + `":{"level":-5}}`, `{"` + spaceURN + `":{"level":9}}`, `{"` + spaceURN + `":{"level":10}}`, `={"` + spaceURN + `":{"level":"1e1"}}`, `{}`}},
		{"level", []string{`{"` + spaceURN + `":{"level":9}}`, `{"` + spaceURN + `":{"level":10}}`, `{}`}},
		{"score", []string{`{"` + spaceURN + `":{"score":1e-3}}`, `{"` + spaceURN + `":{"score":9007199254740993}}`, `{"` + spaceURN + `":{"score":9007199254740994.0}}`, `{"` + spaceURN + `":{"score":1e300}}`}},
		{"since", []string{`{"` + spaceURN + `":{"since":"2026-01-01T00:00:00+02:00"}}`, `{"` + spaceURN + `":{"since":"2025-12-31T22:00:00.5Z"}}`, `{"` + spaceURN + `":{"since":"2026-01-01"}}`, `={"` + spaceURN + `":{"since":"2026-01-01T01:00:00+01:00"}}`, `{}`}},
		{"manager", []string{`{"` + EnterpriseUserSchema + `":{"manager":"5"}}`, `{"manager":"6"}`, `{}`}},
		{"role", []string{`{"` + lowerCoreURN + `":{"role":"a"}}`, `{"role":"B"}`, `{}`}},
		{"unknown", []string{`{"unknown":false}`, `{"unknown":true}`, `{"unknown":2}`, `{"unknown":10}`, `={"UNKNOWN":10.0}`, `{"unknown":"2"}`, `{"unknown":["x","a"]}`, `{"unknown":{"a":1}}`, `={}`}},
	} {
		t.Run(c.by, func(t *testing.T) {
			up, down := bindSort(t, s, c.by, ""), bindSort(t, s, c.by, "Descending")
			keys := make([]SortKey, len(c.users))
			rank := make([]int, len(c.users))
			for i, user := range c.users {
				body, equal := strings.CutPrefix(user, "=")
				keys[i] = up.Key(s.Complete(decode(t, s, body), testMeta))
				if i > 0 {
					rank[i] = rank[i-1] + 1
				}
				if equal {
					rank[i]--
				}
			}
			for i := range keys {
				for j := range keys {
					want := rank[i] - rank[j]
					if got := up.Compare(keys[i], keys[j]); sign(got) != sign(want) {
						t.Errorf("%s against %s is %d", c.users[i], c.users[j], got)
					}
					if got := down.Compare(keys[i], keys[j]); sign(got) != sign(-want) {
						t.Errorf("descending, %s against %s is %d", c.users[i], c.users[j], got)
					}
				}
			}
		})
	}
	if up := bindSort(t, s, "meta.lastModified", "ascending"); up.Key(s.Complete(Resource{}, testMeta)) == (SortKey{}) || up.Descending() {
		t.Error("meta.lastModified gives no key")
	}
	groups := groupSchemas(t)
	visited := 0
	members := memberMap{map[string]Member{"b": {ID: "b"}, "a": {ID: "a"}}, &visited}
	if key := bindSort(t, groups, "members", "").Key(groups.CompleteGroup(Resource{}, Meta{}, members)); key.text != "a" || visited != 1 {
		t.Errorf("a group's key is %v after %d members", key, visited)
	}
	var none Sort
	if !none.IsZero() || none.Key(map[string]any{"userName": "a"}) != (SortKey{}) {
		t.Error("the zero value sorts")
	}
}

func sign(n int) int { return min(1, max(-1, n)) }

func TestSortErrors(t *testing.T) {
	s := testSchemas(t)
	for _, c := range []struct{ by, order, scimType string }{
		{"userName", "up", "invalidValue"},
		{"", "up", "invalidValue"},
		{"user name", "", "invalidPath"},
		{"userName[", "", "invalidPath"},
		{strings.Repeat("a", MaxPathLength+1), "", "invalidPath"},
		{"name", "", "invalidPath"},
		{"meta", "", "invalidPath"},
		{"addresses", "", "invalidPath"},
		{"userName.x", "", "invalidPath"},
		{"password", "", "invalidPath"},
		{spaceURN + ":device", "", "invalidPath"},
	} {
		parsed, err := ParseSort(c.by, c.order)
		if err == nil {
			_, err = parsed.Bind(s)
		}
		wantError(t, err, 400, c.scimType, "sort")
	}
	if empty, err := ParseSort(" ", "descending"); err != nil || !empty.IsZero() {
		t.Errorf("an empty sortBy: %v, %v", empty, err)
	}
}

// For every attribute, comparing is a total preorder, and a key that went through a cursor compares as it did before.
func TestSortIsTotalPreorder(t *testing.T) {
	s := fuzzSchemas(t)
	random := rand.New(rand.NewPCG(1, 2))
	g := generator{random}
	for _, by := range []string{"userName", "title", "active", "emails", "roles.primary", "teams", "unknown", "level", "score", "since", "badge", "department", "manager", "meta.created", "externalId"} {
		up, down := bindSort(t, s, by, "ascending"), bindSort(t, s, by, "descending")
		var keys []SortKey
		for len(keys) < 40 {
			value := pick(g, g.value(2), g.scalar(), pick(g, `9007199254740992`, `9007199254740993`, `9007199254740992.0`, `9223372036854775807`, `9223372036854775806`, `9223372036854775808`, `-9223372036854775809`, `1e19`, `0.5`))
			name, _, _ := strings.Cut(by, ".")
			attributes := map[string]any{}
			if parsed, err := parseJSON([]byte(`{` + strconv.Quote(name) + `:` + value + `}`)); err == nil {
				attributes = parsed.(map[string]any)
			}
			if g.IntN(2) == 0 {
				attributes = map[string]any{spaceURN: attributes}
			}
			key := up.Key(attributes)
			encoded, err := json.Marshal(key)
			if err != nil {
				t.Fatal(err)
			}
			var back SortKey
			if err := json.Unmarshal(encoded, &back); err != nil || up.Compare(key, back) != 0 {
				t.Fatalf("%s: %+v came back as %+v, %v", by, key, back, err)
			}
			keys = append(keys, key, back)
		}
		for _, a := range keys {
			for _, b := range keys {
				if sign(up.Compare(a, b)) != -sign(up.Compare(b, a)) || up.Compare(a, b) != down.Compare(b, a) {
					t.Fatalf("%s: %+v and %+v are not antisymmetric", by, a, b)
				}
				for _, c := range keys {
					if up.Compare(a, b) <= 0 && up.Compare(b, c) <= 0 && up.Compare(a, c) > 0 {
						t.Fatalf("%s: %+v, %+v, %+v are not transitive", by, a, b, c)
					}
				}
			}
		}
		slices.SortFunc(keys, up.Compare)
		if at := slices.Index(keys, SortKey{}); at >= 0 && slices.ContainsFunc(keys[at:], func(k SortKey) bool { return k != SortKey{} }) {
			t.Errorf("%s: absent values are not last", by)
		}
	}
	for _, forged := range []string{`{"k":9}`, `{"k":2,"n":"x"}`, `[]`} {
		var key SortKey
		if err := json.Unmarshal([]byte(forged), &key); err == nil {
			t.Errorf("%s is a key", forged)
		}
	}
}
