package protocol

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestErrorJSON(t *testing.T) {
	tests := []struct {
		err  *Error
		want string
	}{
		{Uniqueness("userName %q is taken", "x"), `{"schemas":["` + ErrorSchema + `"],"scimType":"uniqueness","detail":"userName \"x\" is taken","status":"409"}`},
		{NotFound("no such user"), `{"schemas":["` + ErrorSchema + `"],"detail":"no such user","status":"404"}`},
		{NotFound("100%"), `{"schemas":["` + ErrorSchema + `"],"detail":"100%","status":"404"}`},
	}
	for _, test := range tests {
		got, err := json.Marshal(test.err)
		if err != nil || string(got) != test.want {
			t.Errorf("got %s, %v; want %s", got, err, test.want)
		}
	}
	for status, e := range map[int]*Error{
		401: Unauthorized("x"), 403: Forbidden("x"), 405: MethodNotAllowed("x"), 412: PreconditionFailed("x"), 413: PayloadTooLarge("x"),
		415: UnsupportedMediaType("x"), 429: TooManyRequests("x"), 500: Internal("x"), 501: NotImplemented("x"),
	} {
		if e.Status != status || e.ScimType != "" || e.Detail != "x" {
			t.Errorf("%d: %v", status, e)
		}
	}
	if text := InvalidFilter("x").Error(); text != "400 invalidFilter: x" {
		t.Error(text)
	}
}

func TestListResponse(t *testing.T) {
	tests := []struct {
		name string
		list ListResponse
		want string
	}{
		{"empty: Resources is there, and numbers are numbers", ListResponse{StartIndex: 1},
			`{"schemas":["` + ListResponseSchema + `"],"totalResults":0,"startIndex":1,"itemsPerPage":0,"Resources":[]}`},
		{"itemsPerPage counts this page", ListResponse{TotalResults: 9, StartIndex: 8, Resources: []json.RawMessage{[]byte(`{"id":"1"}`), []byte(`{"id":"2"}`)}},
			`{"schemas":["` + ListResponseSchema + `"],"totalResults":9,"startIndex":8,"itemsPerPage":2,"Resources":[{"id":"1"},{"id":"2"}]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var written bytes.Buffer
			n, err := test.list.WriteTo(&written)
			if err != nil || n != int64(written.Len()) || written.String() != test.want {
				t.Errorf("WriteTo: %s, %d, %v", written.String(), n, err)
			}
			if marshalled, err := json.Marshal(test.list); err != nil || string(marshalled) != test.want {
				t.Errorf("Marshal: %s, %v", marshalled, err)
			}
		})
	}
}

func TestRedactJSON(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"top level", `{"userName":"a","password":"hunter2"}`, `{"password":"[redacted]","userName":"a"}`},
		{"under a URN", `{"` + UserSchema + `":{"PassWord":"hunter2","x":1}}`, `{"` + UserSchema + `":{"PassWord":"[redacted]","x":1}}`},
		{"in arrays, of any type", `[{"x509Certificates":[{"value":"hunter2"}],"client_secret":5,"a":[{"accessToken":{"b":"hunter2"}}]}]`,
			`[{"a":[{"accessToken":"[redacted]"}],"client_secret":"[redacted]","x509Certificates":"[redacted]"}]`},
		{"other words", `{"Authorization":"hunter2","credentials":["hunter2"],"api-key":"hunter2","private_key":"hunter2","pwd":"hunter2","pass phrase":"hunter2"}`,
			`{"Authorization":"[redacted]","api-key":"[redacted]","credentials":"[redacted]","pass phrase":"[redacted]","private_key":"[redacted]","pwd":"[redacted]"}`},
		{"the value of a PATCH path", `{"Operations":[{"op":"replace","path":"password","value":"hunter2"},{"Path":"urn:x:y:PASSWORD","VALUE":{"a":"hunter2"}},{"path":"title","value":"t"}]}`,
			`{"Operations":[{"op":"replace","path":"password","value":"[redacted]"},{"Path":"urn:x:y:PASSWORD","VALUE":"[redacted]"},{"path":"title","value":"t"}]}`},
		{"a PATCH key", `{"Operations":[{"value":{"` + UserSchema + `:password":"hunter2"}}]}`, `{"Operations":[{"value":{"` + UserSchema + `:password":"[redacted]"}}]}`},
		{"not JSON", `password=hunter2`, `"[16 bytes, not JSON]"`},
		{"cut off", `{"password":"hunter2`, `"[20 bytes, not JSON]"`},
		{"two values", `{} "hunter2"`, `"[12 bytes, not JSON]"`},
		{"empty", ``, `"[0 bytes, not JSON]"`},
		{"numbers stay", `{"a":1.50}`, `{"a":1.50}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(RedactJSON([]byte(test.body))); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestAppendStringIsJSON(t *testing.T) {
	for _, s := range []string{"", "plain", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "é😀\u2028", "bad \xff utf-8 \xc3", "<script>&"} {
		var back string
		if err := json.Unmarshal(appendString(nil, s), &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%q came back as %q, %v", s, back, err)
		}
	}
}
