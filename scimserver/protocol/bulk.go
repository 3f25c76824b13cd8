package protocol

import (
	"encoding/json"
	"strings"
)

// BulkLimits bound one bulk request (RFC 7644 section 3.7.4), as ServiceProviderConfig advertises them.
type BulkLimits struct {
	MaxOperations  int
	MaxPayloadSize int // bytes
}

// BulkRequest is a decoded BulkRequest message (RFC 7644 section 3.7).
type BulkRequest struct {
	// FailOnErrors is the number of errors after which the remaining operations are not attempted; 0: all are attempted.
	FailOnErrors int
	Operations   []BulkOperation
}

// Stops reports whether the request wants no more operations after so many errors.
func (b BulkRequest) Stops(errors int) bool { return b.FailOnErrors > 0 && errors >= b.FailOnErrors }

// BulkOperation is one operation of a bulk request.
type BulkOperation struct {
	Method  string          // POST, PUT, PATCH or DELETE
	Path    string          // with a leading slash; may contain a reference such as /Users/bulkId:qwerty
	BulkID  string          // empty where the client gave none, which RFC 7644 allows except for POST
	Version string          // the ETag that the resource must have; empty: any
	Data    json.RawMessage // shares the request body's bytes; nil for DELETE
	// Err is why the operation cannot be attempted; nil: it can. The others are not affected.
	Err *Error
	// DataRefused says that Err is about what the data holds: it is too deep, or refers to nothing. Method and path are sound.
	DataRefused bool

	references []string // bulkIds that the path and the data name, each once
}

// DecodeBulk reads a BulkRequest message. Member names and methods are matched in any letter case. Errors are 413 beyond a limit,
// invalidSyntax where it is no BulkRequest message, and invalidValue where two operations create under one bulkId. What is wrong
// with a single operation is in its Err.
func DecodeBulk(body []byte, limits BulkLimits) (BulkRequest, error) {
	if len(body) > limits.MaxPayloadSize {
		return BulkRequest{}, PayloadTooLarge("the bulk request has %d bytes: maxPayloadSize is %d", len(body), limits.MaxPayloadSize)
	}
	if err := checkObject(body); err != nil {
		return BulkRequest{}, err
	}
	var request BulkRequest
	var err error
	if request.FailOnErrors, err = failOnErrors(body); err != nil {
		return BulkRequest{}, err
	}
	list, ok := rawMember(body, "Operations")
	if !ok || list[0] != '[' {
		return BulkRequest{}, InvalidSyntax("a bulk request needs Operations, an array")
	}
	for element := range rawElements(list) {
		if len(request.Operations) == limits.MaxOperations {
			return BulkRequest{}, PayloadTooLarge("the bulk request has more than %d operations, which is maxOperations", limits.MaxOperations)
		}
		request.Operations = append(request.Operations, readBulkOperation(element))
	}
	created := map[string]bool{}
	for i, o := range request.Operations {
		if !o.creates() {
			continue
		}
		if created[o.BulkID] {
			return BulkRequest{}, InvalidValue("Operations[%d]: another operation has the same bulkId", i)
		}
		created[o.BulkID] = true
	}
	return request, nil
}

func failOnErrors(body []byte) (int, error) {
	raw, ok := rawMember(body, "failOnErrors")
	if !ok || isEmptyRaw(raw) {
		return 0, nil
	}
	value, err := parseJSON(raw)
	if err != nil {
		return 0, malformed(err)
	}
	n, err := integerIn(map[string]any{"failOnErrors": value}, "failOnErrors")
	if err != nil {
		return 0, err
	}
	if *n < 0 {
		return 0, InvalidValue("failOnErrors: expected a number that is not negative")
	}
	return *n, nil
}

// creates reports whether others can refer to what the operation makes.
func (o BulkOperation) creates() bool { return o.Method == "POST" && o.BulkID != "" }

func readBulkOperation(raw []byte) BulkOperation {
	var o BulkOperation
	if raw[0] != '{' {
		o.Err = InvalidSyntax("expected an object, received %s", kindOfRaw(raw))
		return o
	}
	for _, field := range []struct {
		name string
		text *string
	}{{"method", &o.Method}, {"path", &o.Path}, {"bulkId", &o.BulkID}, {"version", &o.Version}} {
		value, ok := rawMember(raw, field.name)
		if !ok {
			continue
		}
		text, err := rawText(value)
		if err != nil && o.Err == nil {
			o.Err = InvalidSyntax("%s: expected a string, received %s", field.name, kindOfRaw(value))
		}
		*field.text = strings.TrimSpace(text)
	}
	o.Method = strings.ToUpper(o.Method)
	if o.Path != "" && o.Path[0] != '/' {
		o.Path = "/" + o.Path
	}
	if data, ok := rawMember(raw, "data"); ok && o.Method != "DELETE" && string(data) != "null" {
		o.Data = data
	}
	if err := o.check(); err != nil && o.Err == nil {
		o.Err = err
	}
	if err := checkRawDepth(o.Data, MaxDepth+patchLevels); err != nil && o.Err == nil {
		o.Err, o.DataRefused = InvalidValue("data.%s", detailOf(invalid(err))), true
	}
	if o.Err == nil {
		o.references = o.findReferences()
	}
	return o
}

func (o BulkOperation) check() *Error {
	switch o.Method {
	case "POST", "PUT", "PATCH", "DELETE":
	default:
		return InvalidSyntax("method is none of POST, PUT, PATCH, DELETE")
	}
	if o.Path == "" {
		return InvalidSyntax("path is missing")
	}
	if len(o.Path) > MaxPathLength {
		return InvalidValue("the path has %d bytes: at most %d are taken", len(o.Path), MaxPathLength)
	}
	endpoint, id, hasID := strings.Cut(o.Path[1:], "/")
	switch {
	case endpoint == "", strings.ContainsAny(o.Path, "?#"), strings.Contains(id, "/"):
		return InvalidValue("path: expected an endpoint, such as /Users, and the resource's id")
	case o.Method == "POST" && hasID:
		return InvalidValue("path: POST takes an endpoint, such as /Users, without an id")
	case o.Method != "POST" && id == "":
		return InvalidValue("path: %s needs the resource's id, as in /Users/id", o.Method)
	case o.Method != "DELETE" && len(o.Data) == 0:
		return InvalidSyntax("data is missing")
	case o.Method != "DELETE" && o.Data[0] != '{':
		return InvalidSyntax("data is %s: expected an object", kindOfRaw(o.Data))
	}
	return nil
}

// BulkResult is how one operation of a bulk request ended.
type BulkResult struct {
	Method, BulkID string // as in the request
	Location       string // of the resource; empty where a POST failed: left out
	Version        string // of the resource as it is now; empty: left out
	Status         int
	Response       json.RawMessage // the body, which must be there where Status is no success; nil: left out
}

// BulkFailure is the result of an operation that was refused, or could not be attempted.
func BulkFailure(o BulkOperation, location string, err *Error) BulkResult {
	body, marshalErr := err.MarshalJSON()
	if marshalErr != nil {
		body = nil
	}
	return BulkResult{Method: o.Method, BulkID: o.BulkID, Location: location, Status: err.Status, Response: body}
}

// AppendBulkResponse appends the BulkResponse message (RFC 7644 section 3.7) to dst. Each status is a string, as the RFC says.
func AppendBulkResponse(dst []byte, results []BulkResult) []byte {
	dst = append(dst, `{"schemas":["`+BulkResponseSchema+`"],"Operations":[`...)
	for i, result := range results {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		for _, field := range []struct{ name, value string }{
			{`"location":`, result.Location}, {`"method":`, result.Method}, {`"bulkId":`, result.BulkID}, {`"version":`, result.Version},
		} {
			if field.value != "" {
				dst = append(appendString(append(dst, field.name...), field.value), ',')
			}
		}
		dst = appendStatus(dst, result.Status)
		if result.Response != nil {
			dst = append(append(dst, `,"response":`...), result.Response...)
		}
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}
