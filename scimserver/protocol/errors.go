package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Schema URNs of the protocol's messages (RFC 7644 section 8.2).
const (
	ErrorSchema        = "urn:ietf:params:scim:api:messages:2.0:Error"
	ListResponseSchema = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	PatchOpSchema      = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
)

// Error is an answer that is not a success (RFC 7644 section 3.12). Detail is shown to the identity provider's
// administrator: it names what was wrong and where, and never repeats a value from a request body.
type Error struct {
	Status   int    // HTTP status code
	ScimType string // RFC 7644 table 9; empty where the table has no fitting keyword
	Detail   string
}

func (e *Error) Error() string {
	if e.ScimType == "" {
		return fmt.Sprintf("%d: %s", e.Status, e.Detail)
	}
	return fmt.Sprintf("%d %s: %s", e.Status, e.ScimType, e.Detail)
}

// MarshalJSON gives the Error message. The status is a string, as the RFC says.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Schemas  [1]string `json:"schemas"`
		ScimType string    `json:"scimType,omitempty"`
		Detail   string    `json:"detail,omitempty"`
		Status   string    `json:"status"`
	}{[1]string{ErrorSchema}, e.ScimType, e.Detail, strconv.Itoa(e.Status)})
}

// detailOf is what an error says to the client, without its status.
func detailOf(err error) string {
	var problem *Error
	if errors.As(err, &problem) {
		return problem.Detail
	}
	return err.Error()
}

func newError(status int, scimType, format string, args []any) *Error {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return &Error{Status: status, ScimType: scimType, Detail: format}
}

// InvalidFilter is 400: the filter is malformed, or compares what cannot be compared.
func InvalidFilter(format string, args ...any) *Error {
	return newError(400, "invalidFilter", format, args)
}

// InvalidPath is 400: the path of a PATCH operation is malformed, or names what no resource can have.
func InvalidPath(format string, args ...any) *Error {
	return newError(400, "invalidPath", format, args)
}

// TooMany is 400: a filter or an order takes more work over all resources than the server does for one request.
func TooMany(format string, args ...any) *Error {
	return newError(400, "tooMany", format, args)
}

// NoTarget is 400: the path of a PATCH operation selects nothing that could be changed.
func NoTarget(format string, args ...any) *Error {
	return newError(400, "noTarget", format, args)
}

// InvalidValue is 400: a required value is missing, or a value does not fit its attribute.
func InvalidValue(format string, args ...any) *Error {
	return newError(400, "invalidValue", format, args)
}

// InvalidSyntax is 400: the body is not JSON, or does not have the structure of the message.
func InvalidSyntax(format string, args ...any) *Error {
	return newError(400, "invalidSyntax", format, args)
}

// Mutability is 400: the attribute is read-only, immutable, or required and was to be removed.
func Mutability(format string, args ...any) *Error {
	return newError(400, "mutability", format, args)
}

// Uniqueness is 409: another resource holds the value.
func Uniqueness(format string, args ...any) *Error {
	return newError(409, "uniqueness", format, args)
}

// InvalidCursor is 400: the cursor is none that the server gave out, or belongs to another query (RFC 9865 section 2.1).
func InvalidCursor(format string, args ...any) *Error {
	return newError(400, "invalidCursor", format, args)
}

// InvalidCount is 400: a count that a page of a cursor cannot have (RFC 9865 section 2.1).
func InvalidCount(format string, args ...any) *Error {
	return newError(400, "invalidCount", format, args)
}

// Conflict is 409 without a keyword: the state of another resource stands in the way, as where bulk operations refer to each
// other and one failed (RFC 7644 section 3.7.1).
func Conflict(format string, args ...any) *Error {
	return newError(409, "", format, args)
}

// Unauthorized is 401: no credential, or one that is not valid.
func Unauthorized(format string, args ...any) *Error {
	return newError(401, "", format, args)
}

// Forbidden is 403: the credential is valid, the request is not allowed.
func Forbidden(format string, args ...any) *Error {
	return newError(403, "", format, args)
}

// NotFound is 404: no such resource or endpoint.
func NotFound(format string, args ...any) *Error {
	return newError(404, "", format, args)
}

// MethodNotAllowed is 405.
func MethodNotAllowed(format string, args ...any) *Error {
	return newError(405, "", format, args)
}

// PreconditionFailed is 412: the resource has another version than If-Match asked for.
func PreconditionFailed(format string, args ...any) *Error {
	return newError(412, "", format, args)
}

// PayloadTooLarge is 413: the request is larger than the server takes.
func PayloadTooLarge(format string, args ...any) *Error {
	return newError(413, "", format, args)
}

// UnsupportedMediaType is 415.
func UnsupportedMediaType(format string, args ...any) *Error {
	return newError(415, "", format, args)
}

// TooManyRequests is 429. Okta tries again by itself only on this status, after the seconds of the Retry-After header.
func TooManyRequests(format string, args ...any) *Error {
	return newError(429, "", format, args)
}

// Internal is 500.
func Internal(format string, args ...any) *Error {
	return newError(500, "", format, args)
}

// NotImplemented is 501: the operation is switched off or not supported.
func NotImplemented(format string, args ...any) *Error {
	return newError(501, "", format, args)
}
