package directory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/attributes"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// What the server leaves out of an App's declared attributes is what the App's status says is wrong, and nothing else.
func TestDeclaredAttributesAreRefusedAlike(t *testing.T) {
	standard := SchemasOf(&v1alpha1.App{})
	var names []string
	for _, document := range standard.SchemaDocuments("") {
		for _, attribute := range document["attributes"].([]any) {
			name := attribute.(map[string]any)["name"].(string)
			names = append(names, name, strings.ToUpper(name))
		}
	}
	names = append(names, "password", "id", "schemas", "meta", "externalId", "groups", "role", "a$b", "a b", "1st", "")
	schemas := []string{
		"", protocol.UserSchema, strings.ToLower(protocol.UserSchema), strings.TrimSuffix(protocol.UserSchema, ":User"),
		protocol.EnterpriseUserSchema, strings.ToUpper(protocol.EnterpriseUserSchema), "urn:example:own", "urn:", "urn:a b:c", "http://example.com",
	}
	count := 0
	for _, schema := range schemas {
		for _, name := range names {
			for _, kind := range []string{"", "string", "boolean", "decimal", "integer", "dateTime", "reference"} {
				for _, multiValued := range []bool{false, true} {
					declared := v1alpha1.CustomAttribute{Name: name, Schema: schema, Type: kind, MultiValued: multiValued}
					_, err := protocol.NewUserSchemas([]protocol.CustomAttribute{{
						Schema: schema, Attribute: protocol.Attribute{Name: name, Type: kind, MultiValued: multiValued},
					}})
					refused := attributes.CheckDeclared([]v1alpha1.CustomAttribute{declared})
					if (err != nil) != (len(refused) > 0) {
						t.Errorf("%+v: the server says %v, the App %v", declared, err, refused)
					}
					count++
				}
			}
		}
	}
	if count < 4000 {
		t.Error(fmt.Sprint("only ", count, " declarations were compared"))
	}
	twice := []v1alpha1.CustomAttribute{{Name: "Level"}, {Name: "level", Schema: protocol.UserSchema}}
	if refused := attributes.CheckDeclared(twice); len(refused) != 1 || refused[0].Index != 1 {
		t.Errorf("declared twice: %v", refused)
	}
}
