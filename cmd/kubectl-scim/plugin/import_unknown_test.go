package plugin

import (
	"slices"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/directory"
)

func TestUnknownAttributes(t *testing.T) {
	const badge = "urn:example:params:scim:schemas:badge:2.0:User"
	app := &v1alpha1.App{Spec: v1alpha1.AppSpec{Attributes: []v1alpha1.CustomAttribute{{Name: "role", Type: "string"}, {Name: "level", Schema: badge, Type: "integer"}}}}
	schemas := directory.SchemasOf(app)
	for text, want := range map[string][]string{
		strings.Join(columnsFor(app), ",") + "\n" + "a,b,true,c,d,e,f,g,h,i,j,1\n": nil, // what export writes
		"userName,Active,ROLE\na,true,x\n":                                         nil,
		"userName,actve,role\na,true,x\n":                                          {"actve"},
		"userName,actve\na,\n":                                                     nil, // an empty cell says nothing
		"userName," + badge + ":levl," + badge + ":level\na,1,1\n":                 {badge + ":levl"},
		"userName,urn:example:other:x\na,1\n":                                      {"urn:example:other"},
		"userName,name.givenName,nam.familyName\na,b,c\n":                          {"nam"},
	} {
		records, err := readCSV(strings.NewReader(text), app)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := unknownAttributes(records, schemas); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	records, err := readRecords(strings.NewReader(`{"userName":"a","active":true,"emails":[],"meta":{},"acitve":false}`), formatJSONL, app)
	if err != nil {
		t.Fatal(err)
	}
	if got := unknownAttributes(records, schemas); !slices.Equal(got, []string{"acitve"}) {
		t.Errorf("JSON lines: %q", got)
	}
}
