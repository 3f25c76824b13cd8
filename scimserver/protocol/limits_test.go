package protocol

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// membersJSON is the members of an object with n different names, without braces.
func membersJSON(prefix string, n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf("%q:%d", fmt.Sprint(prefix, i), i)
	}
	return strings.Join(members, ",")
}

func TestObjectsAreBounded(t *testing.T) {
	s := testSchemas(t)
	full := `{` + membersJSON("a", MaxMembers) + `}`
	tooMany := `{` + membersJSON("a", MaxMembers+1) + `}`
	half := `{` + membersJSON("b", MaxMembers/2+1) + `}`
	if _, err := s.DecodeUser([]byte(full)); err != nil {
		t.Errorf("as many as are allowed: %v", err)
	}
	for name, body := range map[string]string{"top level": tooMany, "below": `{"x":` + tooMany + `}`, "in a list": `{"x":[` + tooMany + `]}`} {
		t.Run(name, func(t *testing.T) {
			_, err := s.DecodeUser([]byte(body))
			wantError(t, err, 400, "invalidValue", "1001 members")
		})
	}
	two := func(name string, members int) string {
		return `{"` + name + `":{"a":{` + membersJSON("a", MaxMembers) + `},"b":{` + membersJSON("b", members) + `}}}`
	}
	for name, attribute := range map[string]string{"nested": "x", "an extension": "urn:x:y"} {
		most, more := two(attribute, MaxMembers-2), two(attribute, MaxMembers-1)
		t.Run("in all: "+name, func(t *testing.T) {
			if _, err := s.DecodeUser([]byte(most)); err != nil {
				t.Errorf("as many as are allowed: %v", err)
			}
			_, err := s.DecodeUser([]byte(more))
			wantError(t, err, 400, "invalidValue", "2000")
			_, _, err = s.ApplyPatch(decode(t, s, most), []byte(patchBody(`{"op":"add","value":{"c":{`+membersJSON("c", 20)+`}}}`)))
			wantError(t, err, 400, "invalidValue", "2000")
			stored, err := parseJSON([]byte(more))
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = s.ApplyPatch(Resource{Attributes: stored.(map[string]any)}, []byte(patchBody(`{"op":"add","path":"active","value":false}`))); err != nil {
				t.Errorf("what was stored before: %v", err)
			}
		})
	}
	growing := map[string][2]string{
		"the resource":     {full, `{"op":"add","value":{"one":"more"}}`},
		"an extension":     {`{"urn:x:y":` + full + `}`, `{"op":"add","path":"urn:x:y:one","value":"more"}`},
		"an object":        {`{"x":` + full + `}`, `{"op":"add","path":"x.one","value":"more"}`},
		"a merged object":  {`{"name":{` + membersJSON("a", MaxMembers/2) + `}}`, `{"op":"add","path":"name","value":` + half + `}`},
		"a merged element": {`{"list":[{"k":"v",` + membersJSON("a", MaxMembers/2) + `}]}`, `{"op":"add","path":"list[k eq \"v\"]","value":` + half + `}`},
	}
	for name, test := range growing {
		t.Run("PATCH: "+name, func(t *testing.T) {
			_, _, err := s.ApplyPatch(decode(t, s, test[0]), []byte(patchBody(test[1])))
			wantError(t, err, 400, "invalidValue", "members")
		})
	}
}

// A resource may come from a store that decodes numbers otherwise than DecodeUser does.
func TestNumbersOfOtherTypes(t *testing.T) {
	s := testSchemas(t)
	stored := Resource{Attributes: map[string]any{
		"userName": "a", "shoeSize": float64(44), spaceURN: map[string]any{"level": int64(7), "score": 1.5}, "list": []any{float64(1), int64(2)}, "n": 5,
	}}
	if err := s.ValidateUpdate(Resource{}, stored); err != nil {
		t.Error(err)
	}
	if got, want := render(t, s, stored, Projection{}), `"shoeSize":44`; !strings.Contains(got, want) {
		t.Errorf("%s is not in %s", want, got)
	}
	complete := s.Complete(stored, testMeta)
	for _, filter := range []string{`shoeSize eq 44`, `shoeSize sw "4"`, spaceURN + `:level eq 7`, spaceURN + `:level lt 7.5`, `list eq 2`, `n ge 5`, spaceURN + `:score gt 1`} {
		if !matches(t, s, complete, filter) {
			t.Errorf("does not match: %s", filter)
		}
	}
	_, changed, err := s.ApplyPatch(stored, []byte(patchBody(`{"op":"replace","value":{"shoeSize":44.0,"n":5,"`+spaceURN+`":{"level":7,"score":1.50}}}`)))
	if err != nil || changed {
		t.Errorf("the same numbers, written otherwise: changed %v, %v", changed, err)
	}
}

func TestParseNumber(t *testing.T) {
	for _, text := range []string{"0", "-0", "12", "1.5", "1e3", "1E+3", "-1.25e-3", "9223372036854775808"} {
		if _, ok := parseNumber(text); !ok || !json.Valid([]byte(text)) {
			t.Errorf("%q is refused", text)
		}
	}
	for _, text := range []string{"", "-", "01", "1.", ".5", "1e", "1e+", "0x1", "Inf", "NaN", "1 ", "+1", "1_0", "1e999", strings.Repeat("1", maxNumberLength+1)} {
		if _, ok := parseNumber(text); ok {
			t.Errorf("%q is taken", text)
		}
	}
	big, _ := parseNumber("9007199254740993")
	near, _ := parseNumber("9007199254740992")
	if compareNumbers(big, near) <= 0 {
		t.Error("neighbouring integers beyond 2^53 are equal")
	}
}

func TestFilterOnOddValues(t *testing.T) {
	s := testSchemas(t)
	complete := s.Complete(decode(t, s, `{"userName":"a","nested":[["x"],{"value":{"deep":1}},{"value":["y","z"]}],"`+spaceURN+`":{"device":{"serial":"S","ports":[80,443]}}}`), testMeta)
	for filter, want := range map[string]bool{
		`nested eq "x"`: true, `nested eq "z"`: true, `nested eq "deep"`: false, `device.serial eq "s"`: true, `device.ports eq 443`: true, spaceURN + `:device.ports gt 443`: false,
		`device pr`: true, `x509Certificates.value co "x"`: false,
	} {
		if got := matches(t, s, complete, filter); got != want {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
}
