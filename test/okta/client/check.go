package okta

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Schemas of SCIM messages and resources (RFC 7643 section 10.2, RFC 7644 section 8.2).
const (
	SchemaUser         = "urn:ietf:params:scim:schemas:core:2.0:User"
	SchemaGroup        = "urn:ietf:params:scim:schemas:core:2.0:Group"
	SchemaEnterprise   = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	SchemaListResponse = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	SchemaError        = "urn:ietf:params:scim:api:messages:2.0:Error"
	SchemaPatchOp      = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
)

// mediaType is what every answer with a body carries.
const mediaType = "application/scim+json"

// ViolationError is an answer that Okta could not use, or not the one that was asked for.
type ViolationError struct {
	Exchange *Exchange
	Expected string
}

func (v *ViolationError) Error() string {
	return fmt.Sprintf("expected %s\n%s", v.Expected, v.Exchange)
}

func (e *Exchange) violation(format string, arguments ...any) error {
	return &ViolationError{Exchange: e, Expected: fmt.Sprintf(format, arguments...)}
}

var wholeSeconds = regexp.MustCompile(`^[0-9]+$`)

// check holds an answer against what is true of every answer: it is SCIM JSON, an error says what is wrong, and no
// password comes back.
func (e *Exchange) check() error {
	if len(e.Body) == 0 {
		if e.Status != http.StatusNoContent && e.Status != http.StatusNotModified && e.Method != http.MethodHead {
			return e.violation("a body: every answer but 204 and 304 has one")
		}
		return nil
	}
	if got := e.Header.Values("Content-Type"); len(got) != 1 || got[0] != mediaType {
		return e.violation("Content-Type exactly %q, not %q", mediaType, got)
	}
	var err error
	if e.Document, err = decodeDocument(e.Body); err != nil {
		return e.violation("a body that is JSON (%v)", err)
	}
	if _, isObject := e.Document.(map[string]any); !isObject {
		return e.violation("a body that is a JSON object")
	}
	if hasPassword(e.Document) {
		return e.violation("an answer without a password")
	}
	if e.Status >= 300 {
		return e.checkError()
	}
	return nil
}

// hasPassword finds a member named password at any depth. A schema's description of the attribute has it as a value.
func hasPassword(document any) bool {
	switch document := document.(type) {
	case map[string]any:
		for name, value := range document {
			if strings.EqualFold(name, "password") || hasPassword(value) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(document, hasPassword)
	}
	return false
}

// checkError holds an error against RFC 7644 section 3.12, and its headers against RFC 9110.
func (e *Exchange) checkError() error {
	if !e.hasSchema(SchemaError) {
		return e.violation("schemas with %s", SchemaError)
	}
	if got, want := e.At("status"), strconv.Itoa(e.Status); got != want {
		return e.violation("status %q as a string, not %v", want, got)
	}
	if strings.TrimSpace(e.Text("detail")) == "" {
		return e.violation("a detail that an administrator can act on")
	}
	switch e.Status {
	case http.StatusUnauthorized:
		if e.Header.Get("WWW-Authenticate") == "" {
			return e.violation("WWW-Authenticate on 401")
		}
	case http.StatusMethodNotAllowed:
		if e.Header.Get("Allow") == "" {
			return e.violation("Allow on 405")
		}
	case http.StatusTooManyRequests:
		if !wholeSeconds.MatchString(e.Header.Get("Retry-After")) {
			return e.violation("Retry-After in whole seconds on 429, not %q", e.Header.Get("Retry-After"))
		}
	}
	return nil
}

func (e *Exchange) hasSchema(schema string) bool {
	schemas, _ := e.At("schemas").([]any)
	return slices.Contains(schemas, any(schema))
}

// ExpectStatus returns a *ViolationError unless the answer has one of the statuses.
func (e *Exchange) ExpectStatus(statuses ...int) error {
	if !slices.Contains(statuses, e.Status) {
		return e.violation("status %s", strings.Trim(fmt.Sprint(statuses), "[]"))
	}
	return nil
}

// ExpectError returns a *ViolationError unless the answer is an error of that status and scimType ("" for none asked).
func (e *Exchange) ExpectError(status int, scimType string) error {
	if err := e.ExpectStatus(status); err != nil {
		return err
	}
	if scimType != "" && e.At("scimType") != scimType {
		return e.violation("scimType %q", scimType)
	}
	return nil
}

// ExpectUser returns a *ViolationError unless the answer is a whole user with one of the statuses (200 where none is given).
func (e *Exchange) ExpectUser(statuses ...int) error {
	if len(statuses) == 0 {
		statuses = []int{http.StatusOK}
	}
	if err := e.ExpectStatus(statuses...); err != nil {
		return err
	}
	if problem := userProblem(e.Document); problem != "" {
		return e.violation("a user: %s", problem)
	}
	if e.Status == http.StatusCreated && !strings.HasSuffix(e.Header.Get("Location"), "/Users/"+e.Text("id")) {
		return e.violation("a Location that ends in /Users/%s", e.Text("id"))
	}
	return nil
}

// userProblem says what Okta misses in a user, or "".
func userProblem(user any) string {
	schemas, _ := At(user, "schemas").([]any)
	if !slices.Contains(schemas, any(SchemaUser)) {
		return "schemas has no " + SchemaUser
	}
	for _, path := range [][]any{{"id"}, {"userName"}, {"meta", "resourceType"}, {"meta", "created"}, {"meta", "lastModified"}, {"meta", "location"}} {
		if text, _ := At(user, path...).(string); text == "" {
			return fmt.Sprintf("%v is no string or empty", path)
		}
	}
	if At(user, "meta", "resourceType") != "User" {
		return "meta.resourceType is not User"
	}
	if _, isBoolean := At(user, "active").(bool); !isBoolean {
		return "active is no boolean"
	}
	return ""
}

// ExpectList returns a *ViolationError unless the answer is a list response that Okta reads: numbers that are numbers,
// Resources present also where it is empty, itemsPerPage the number of resources on this page.
func (e *Exchange) ExpectList() error {
	if err := e.ExpectStatus(http.StatusOK); err != nil {
		return err
	}
	if !e.hasSchema(SchemaListResponse) {
		return e.violation("schemas with %s", SchemaListResponse)
	}
	for _, name := range []string{"totalResults", "startIndex", "itemsPerPage"} {
		if _, isNumber := e.At(name).(json.Number); !isNumber {
			return e.violation("%s as a number", name)
		}
	}
	resources, isList := e.At("Resources").([]any)
	if !isList {
		return e.violation("Resources as an array")
	}
	if got := e.Number("itemsPerPage"); got != len(resources) {
		return e.violation("itemsPerPage %d, the resources on this page, not %d", len(resources), got)
	}
	if total := e.Number("totalResults"); total < len(resources) {
		return e.violation("totalResults of at least %d", len(resources))
	}
	return nil
}

// ExpectUsers is ExpectList with a whole user as every resource. It returns a *ViolationError.
func (e *Exchange) ExpectUsers() error {
	if err := e.ExpectList(); err != nil {
		return err
	}
	for i, user := range e.Resources() {
		if problem := userProblem(user); problem != "" {
			return e.violation("a user as Resources[%d]: %s", i, problem)
		}
	}
	return nil
}

// Resources of a list response.
func (e *Exchange) Resources() []any {
	resources, _ := e.At("Resources").([]any)
	return resources
}

// Number is At for whole numbers; -1 where there is none.
func (e *Exchange) Number(path ...any) int {
	number, _ := e.At(path...).(json.Number)
	value, err := strconv.Atoi(number.String())
	if err != nil {
		return -1
	}
	return value
}
