package protocol

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Projection against a model that is plainly right: of a resource without attributes that could be read two ways, an answer
// has what is named, or all but what is named, with id and schemas.
func TestProjectionAgainstAModel(t *testing.T) {
	s := fuzzSchemas(t)
	r := decode(t, s, `{"userName":"a","title":"t","active":true,"name":{"givenName":"G","familyName":"F"},"emails":[{"type":"work","value":"x"},{"type":"home","value":"y"}],
		"teams":["z"],"`+EnterpriseUserSchema+`":{"department":"D","costCenter":"C"},"`+spaceURN+`":{"level":1}}`)
	var whole map[string]any
	if err := json.Unmarshal([]byte(render(t, s, r, Projection{})), &whole); err != nil {
		t.Fatal(err)
	}
	// Each path with what it is called in a request, and where it is in the answer.
	paths := map[string][]string{
		"userName": {"userName"}, "title": {"title"}, "active": {"active"}, "teams": {"teams"}, "meta": {"meta"},
		"name": {"name"}, "name.givenName": {"name", "givenName"}, "name.familyName": {"name", "familyName"},
		"emails": {"emails"}, "emails.value": {"emails", "value"}, "emails.type": {"emails", "type"},
		EnterpriseUserSchema: {EnterpriseUserSchema}, EnterpriseUserSchema + ":department": {EnterpriseUserSchema, "department"},
		EnterpriseUserSchema + ":costCenter": {EnterpriseUserSchema, "costCenter"}, spaceURN + ":level": {spaceURN, "level"},
		"nobody": {"nobody"},
	}
	names := make([]string, 0, len(paths))
	for name := range paths {
		names = append(names, name)
	}
	slices.Sort(names)
	for seed := range uint64(3000) {
		g := generator{rand.New(rand.NewPCG(seed, 5))}
		var asked, excluded []string
		for range g.IntN(4) {
			asked = append(asked, pick(g, names...))
		}
		for range g.IntN(4) {
			excluded = append(excluded, pick(g, names...))
		}
		p, err := ParseProjection(spell(g, asked), spell(g, excluded))
		if err != nil {
			t.Fatal(err)
		}
		has := func(list []string, path ...string) bool {
			return slices.ContainsFunc(list, func(name string) bool {
				named := paths[name]
				return slices.Equal(named, path) || len(path) > 1 && slices.Equal(named, path[:1])
			})
		}
		want := map[string]any{"id": whole["id"]}
		for name, value := range whole {
			if name == "id" || name == "schemas" {
				continue
			}
			if kept := keep(value, func(sub ...string) bool {
				path := append([]string{name}, sub...)
				return (len(asked) == 0 || has(asked, path...)) && !has(excluded, path...)
			}); kept != nil {
				want[name] = kept
			}
		}
		schemas := []any{UserSchema}
		for _, urn := range []string{EnterpriseUserSchema, spaceURN} {
			if want[urn] != nil {
				schemas = append(schemas, urn)
			}
		}
		slices.SortFunc(schemas[1:], func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		want["schemas"] = schemas
		if got := canonical(t, render(t, s, r, p)); got != encoded(want) {
			t.Fatalf("seed %d: attributes %q without %q\n got %s\nwant %s", seed, asked, excluded, got, encoded(want))
		}
	}
}

// spell writes names as clients may.
func spell(g generator, names []string) string {
	spelled := slices.Clone(names)
	for i, name := range spelled {
		switch g.IntN(4) {
		case 0:
			spelled[i] = strings.ToUpper(name)
		case 1:
			if !strings.Contains(name, ":") {
				spelled[i] = UserSchema + ":" + name
			}
		case 2:
			spelled[i] = " " + name + " "
		}
	}
	return strings.Join(spelled, ",")
}

// keep returns what of a value is wanted: of objects and lists of objects by sub-attribute, of anything else as a whole.
func keep(value any, wanted func(sub ...string) bool) any {
	switch value := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, member := range value {
			if wanted(name) {
				kept[name] = member
			}
		}
		if len(kept) > 0 {
			return kept
		}
		return nil
	case []any:
		var list []any
		for _, element := range value {
			if _, isObject := element.(map[string]any); !isObject {
				if wanted() {
					list = append(list, element)
				}
			} else if kept := keep(element, wanted); kept != nil {
				list = append(list, kept)
			}
		}
		if list != nil {
			return list
		}
		return nil
	}
	if wanted() {
		return value
	}
	return nil
}

// FuzzParameters has what a request says outside of resources: projections, sorting, versions, searches.
func FuzzParameters(f *testing.F) {
	for _, seed := range []string{
		"userName,name.givenName", EnterpriseUserSchema + ":manager.value", " ,,", `W/"1", "x"`, "*", `"`, "W/", `{"filter":"title pr","count":"7","cursor":""}`,
		`{"attributes":["a","b.c"],"excludedAttributes":"x","sortBy":"emails","sortOrder":"DESCENDING","startIndex":-1e30}`, "meta.lastModified", "descending",
	} {
		f.Add(seed, "ascending")
	}
	s := fuzzSchemas(f)
	r := decode(f, s, filterUser)
	f.Fuzz(func(t *testing.T, text, other string) {
		if p, err := ParseProjection(text, other); err != nil {
			wantProtocolError(t, err)
		} else if rendered, err := s.Render(r, testMeta, p); err != nil || !json.Valid(rendered) || !strings.Contains(string(rendered), `"id":`) {
			t.Fatalf("rendered %s, %v", rendered, err)
		}
		if by, err := ParseSort(text, other); err != nil {
			wantProtocolError(t, err)
		} else if bound, err := by.Bind(s); err != nil {
			wantProtocolError(t, err)
		} else if key := bound.Key(s.Complete(r, testMeta)); !bound.IsZero() && bound.Compare(key, key) != 0 {
			t.Fatal("a resource does not sort like itself")
		}
		tags := ParseETags(text)
		if version := `"` + strings.Trim(other, `"`) + `"`; tags.MatchStrong(version) && !tags.MatchWeak(version) {
			t.Fatalf("%q names %s as a strong tag and not as any", text, version)
		}
		if tags.IsZero() != (strings.TrimSpace(text) == "") {
			t.Fatalf("%q is a condition: %v", text, !tags.IsZero())
		}
		if _, err := DecodeSearchRequest([]byte(text)); err != nil {
			wantProtocolError(t, err)
		}
	})
}

func ExampleETags_NamePrefix() {
	tags := ParseETags(`"1a-7-names", W/"1a-8"`)
	fmt.Println(tags.NamePrefix("1a-7"), tags.NamePrefix("1a"), tags.NamePrefix("1a-8"), tags.NamePrefix("1a-7-n"))
	// Output: true true false false
}
