package protocol

import (
	"encoding/json"
	"math"
	"strings"
)

// Schema URNs of the messages of RFC 7644 sections 3.4.3 and 3.7.
const (
	SearchRequestSchema = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
	BulkRequestSchema   = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	BulkResponseSchema  = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
)

// SearchRequest is the body of POST /.search (RFC 7644 section 3.4.3, RFC 9865 section 3): what a GET has in its query.
type SearchRequest struct {
	Projection        Projection
	Filter            string // as in the body; empty: none was sent
	SortBy, SortOrder string // for ParseSort
	// StartIndex and Count are nil where the client did not say. They are as sent, beyond the range of int cut to it.
	StartIndex, Count *int
	// Cursor is nil where the client did not ask for cursor paging; empty: the first page.
	Cursor *string
}

// DecodeSearchRequest reads the message. Member names are matched in any letter case, null means absent, and numbers may be
// strings. Errors are invalidSyntax where the body is not a JSON object, and invalidValue with the member's name; for the count of a
// page of a cursor invalidCount.
func DecodeSearchRequest(body []byte) (SearchRequest, error) {
	message, err := parseObject(body, MaxDepth)
	if err != nil {
		return SearchRequest{}, err
	}
	var request SearchRequest
	var lists [2]string
	for i, name := range []string{"attributes", "excludedAttributes"} {
		if lists[i], err = namesIn(message, name); err != nil {
			return SearchRequest{}, err
		}
	}
	if request.Projection, err = ParseProjection(lists[0], lists[1]); err != nil {
		return SearchRequest{}, err
	}
	for _, field := range []struct {
		name string
		text *string
	}{{"filter", &request.Filter}, {"sortBy", &request.SortBy}, {"sortOrder", &request.SortOrder}} {
		text, err := textIn(message, field.name)
		if err != nil {
			return SearchRequest{}, err
		}
		if text != nil {
			*field.text = strings.TrimSpace(*text)
		}
		if field.name == "filter" && text != nil && *field.text == "" {
			return SearchRequest{}, EmptyFilter()
		}
	}
	if request.Cursor, err = textIn(message, "cursor"); err != nil {
		return SearchRequest{}, err
	}
	if request.StartIndex, err = integerIn(message, "startIndex"); err != nil {
		return SearchRequest{}, err
	}
	if request.Count, err = integerIn(message, "count"); err != nil && request.Cursor != nil {
		err = InvalidCount("%s", detailOf(err))
	}
	return request, err
}

// EmptyFilter is the error of a filter that is there and says nothing, by GET and in a search alike: all resources are not what
// a client means that lost its condition.
func EmptyFilter() error {
	return InvalidFilter("The filter is empty. Leave it out to list everything.")
}

// namesIn reads an array of names, or a string in the notation of the query parameter.
func namesIn(message map[string]any, name string) (string, error) {
	_, value, _ := member(message, name)
	switch value := value.(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	case []any:
		names := make([]string, 0, len(value))
		for _, element := range value {
			text, ok := element.(string)
			if !ok {
				return "", InvalidValue("%s: expected attribute names, found %s", name, kindOf(element))
			}
			names = append(names, text)
		}
		return strings.Join(names, ","), nil
	default:
		return "", InvalidValue("%s: expected an array of attribute names, received %s", name, kindOf(value))
	}
}

func textIn(message map[string]any, name string) (*string, error) {
	_, value, _ := member(message, name)
	if value == nil {
		return nil, nil
	}
	text, ok := value.(string)
	if !ok {
		return nil, InvalidValue("%s: expected a string, received %s", name, kindOf(value))
	}
	return &text, nil
}

func integerIn(message map[string]any, name string) (*int, error) {
	_, value, _ := member(message, name)
	if value == nil || value == "" {
		return nil, nil
	}
	n, ok := numericValue(value)
	if _, huge := value.(json.Number); !ok && huge {
		return nil, InvalidValue("%s: the number is out of range", name)
	}
	if !ok || n.float != math.Trunc(n.float) {
		return nil, InvalidValue("%s: expected an integer", name)
	}
	integer := n.integer
	switch {
	case n.exact:
	case n.float < 0:
		integer = int64(max(n.float, -1<<62))
	default:
		integer = int64(min(n.float, 1<<62))
	}
	result := int(integer)
	return &result, nil
}
