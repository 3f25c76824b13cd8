package protocol

import (
	"strings"
	"testing"
)

// Early versions of Entra put a simple value into [{"$ref":null,"value":x}]. It counts as x wherever a simple value may stand.
func TestValuesInARefAreValues(t *testing.T) {
	const wrapped = `[{"$ref":null,"value":"W"}]`
	plain := func(text string) string { return strings.ReplaceAll(text, wrapped, `"W"`) }
	users := testSchemas(t)
	for name, body := range map[string]string{
		"simple attributes":  `{"userName":` + wrapped + `,"title":` + wrapped + `,"externalId":` + wrapped + `}`,
		"sub-attributes":     `{"userName":"a","name":{"givenName":` + wrapped + `},"emails":[{"type":"work","value":` + wrapped + `}]}`,
		"an extension":       `{"userName":"a","` + EnterpriseUserSchema + `":{"department":` + wrapped + `,"manager":{"value":` + wrapped + `}}}`,
		"a manager":          `{"userName":"a","` + EnterpriseUserSchema + `":{"manager":` + wrapped + `}}`,
		"an unknown one":     `{"userName":"a","favouriteColour":` + wrapped + `}`,
		"unknown in another": `{"userName":"a","urn:x:y":{"z":` + wrapped + `}}`,
	} {
		got, want := decode(t, users, body), decode(t, users, plain(body))
		if !sameResource(got, want) {
			t.Errorf("%s: %s, want %s", name, encoded(got.Attributes), encoded(want.Attributes))
		}
	}
	for name, operation := range map[string]string{
		"a path":                  `{"op":"Replace","path":"title","value":` + wrapped + `}`,
		"a sub-attribute":         `{"op":"Add","path":"name.givenName","value":` + wrapped + `}`,
		"below a filter":          `{"op":"Add","path":"emails[type eq \"work\"].value","value":` + wrapped + `}`,
		"an extension":            `{"op":"Add","path":"` + EnterpriseUserSchema + `:department","value":` + wrapped + `}`,
		"a manager":               `{"op":"Add","path":"` + EnterpriseUserSchema + `:manager","value":` + wrapped + `}`,
		"no path":                 `{"op":"Replace","value":{"title":` + wrapped + `,"name":{"familyName":` + wrapped + `}}}`,
		"dotted names":            `{"op":"Replace","value":{"name.givenName":` + wrapped + `}}`,
		"an unknown attribute":    `{"op":"Add","path":"favouriteColour","value":` + wrapped + `}`,
		"an unknown extension":    `{"op":"Add","path":"urn:x:y:User:z","value":` + wrapped + `}`,
		"the name of the user":    `{"op":"Replace","path":"userName","value":` + wrapped + `}`,
		"the client's identifier": `{"op":"Replace","path":"externalId","value":` + wrapped + `}`,
	} {
		const before = `{"userName":"a","name":{"givenName":"G"}}`
		got, _, err := users.ApplyPatch(decode(t, users, before), []byte(patchBody(operation)))
		want, _, errPlain := users.ApplyPatch(decode(t, users, before), []byte(patchBody(plain(operation))))
		if err != nil || errPlain != nil || !sameResource(got, want) {
			t.Errorf("PATCH with %s: %s %v, want %s %v", name, encoded(got.Attributes), err, encoded(want.Attributes), errPlain)
		}
	}
	groups := groupSchemas(t)
	for name, body := range map[string]string{
		"simple attributes": `{"displayName":` + wrapped + `,"externalId":` + wrapped + `}`,
		"unknown ones":      `{"displayName":"d","description":` + wrapped + `,"urn:x:y":{"z":` + wrapped + `}}`,
	} {
		got, want := decodeGroup(t, groups, body).Attributes, decodeGroup(t, groups, plain(body)).Attributes
		if !sameResource(got, want) {
			t.Errorf("a group with %s: %s, want %s", name, encoded(got.Attributes), encoded(want.Attributes))
		}
	}
	for name, operation := range map[string]string{
		"a path":       `{"op":"Replace","path":"displayName","value":` + wrapped + `}`,
		"no path":      `{"op":"Replace","value":{"displayName":` + wrapped + `,"externalId":` + wrapped + `}}`,
		"an unknown":   `{"op":"Add","path":"description","value":` + wrapped + `}`,
		"an extension": `{"op":"Add","path":"urn:x:Y:w","value":` + wrapped + `}`,
	} {
		apply := func(operation string) string {
			patch, err := groups.ParseGroupPatch([]byte(patchBody(operation)))
			if err != nil {
				return err.Error()
			}
			next, _, err := patch.ApplyAttributes(decodeGroup(t, groups, `{"displayName":"Old"}`).Attributes)
			if err != nil {
				return err.Error()
			}
			return encoded(next.Attributes)
		}
		if got, want := apply(operation), apply(plain(operation)); got != want {
			t.Errorf("PATCH of a group with %s: %s, want %s", name, got, want)
		}
	}
}
