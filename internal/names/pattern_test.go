package names

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// subjectPatterns are the patterns of the AppRoleBinding's subjects, as the API server compiles them.
func subjectPatterns(t *testing.T) map[string]*regexp.Regexp {
	t.Helper()
	text, err := os.ReadFile("../../config/crd/bases/scim-operator.io_approlebindings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	subject := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["subjects"].Items.Schema.Properties
	return map[string]*regexp.Regexp{
		"name": regexp.MustCompile(subject["name"].Pattern), "group": regexp.MustCompile(subject["group"].Pattern),
	}
}

// The schema refuses what IsReserved does, for every case and every blank or invisible character at every place. It cannot
// say compatibility forms of letters, such as full-width ones: those only the controller refuses.
func TestSchemaRefusesReservedSubjects(t *testing.T) {
	const word = ReservedPrefix
	var odd []string
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if (unicode.IsSpace(c) || !unicode.IsPrint(c)) && unicode.In(c, unicode.Z, unicode.C) {
			odd = append(odd, string(c))
		}
		if c == 0x2100 {
			c = 0xe0000 - 1 // between them are few: U+3000, U+FEFF and the like follow by name
		}
		if c > 0xe0100 {
			break
		}
	}
	odd = append(odd, "\u3000", "\ufeff", "\ufff9", " \t\n\u200b")
	inputs := []string{"", "system", "sys tem", "systems:", "okta:system:x", "xsystem:", "s", "sy", " ", "SYSTEM", "system;admin", "sÿstem:", "s\u0301ystem:"}
	for at := range len(word) + 1 {
		for _, blank := range odd {
			inputs = append(inputs, word[:at]+blank+word[at:]+"admin", word[:at]+blank+"x"+word[at:])
		}
		upper := strings.ToUpper(word[:at]) + word[at:]
		inputs = append(inputs, upper, upper+"x", word[:at], word[:at]+"x"+word[at:])
	}
	for field, pattern := range subjectPatterns(t) {
		for _, input := range inputs {
			if accepted := pattern.MatchString(input); accepted == IsReserved(input) {
				t.Errorf("%s %q: the schema accepts it: %v; it is reserved: %v", field, input, accepted, IsReserved(input))
			}
		}
	}
}
