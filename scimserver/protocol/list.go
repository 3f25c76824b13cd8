package protocol

import (
	"encoding/json"
	"io"
	"strconv"
)

// ListResponse is a page of resources (RFC 7644 section 3.4.2). itemsPerPage is the number of resources in this page, and
// Resources is always there: Okta refuses an answer without it, and one with numbers as strings.
type ListResponse struct {
	TotalResults int               // over all pages
	StartIndex   int               // of the first resource in this page, from 1; 0 where a cursor is used: left out
	Resources    []json.RawMessage // rendered, copied as they are
	// NextCursor and PreviousCursor lead to the pages beside this one (RFC 9865 section 2); empty: left out, there is none.
	// They consist of unreserved characters of a URI (RFC 3986 section 2.3).
	NextCursor, PreviousCursor string
}

// AppendJSON appends the message to dst.
func (l ListResponse) AppendJSON(dst []byte) []byte {
	dst = l.AppendOpening(dst, len(l.Resources))
	for i, resource := range l.Resources {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, resource...)
	}
	return append(dst, ListClosing...)
}

// ListClosing ends a message that AppendOpening began.
const ListClosing = `]}`

// AppendOpening appends the message up to its first resource, of which so many follow, separated by commas: for answers that are
// too large to be held as a whole.
func (l ListResponse) AppendOpening(dst []byte, resources int) []byte {
	dst = append(dst, `{"schemas":["`+ListResponseSchema+`"],"totalResults":`...)
	dst = strconv.AppendInt(dst, int64(l.TotalResults), 10)
	if l.StartIndex > 0 {
		dst = append(dst, `,"startIndex":`...)
		dst = strconv.AppendInt(dst, int64(l.StartIndex), 10)
	}
	dst = append(dst, `,"itemsPerPage":`...)
	dst = strconv.AppendInt(dst, int64(resources), 10)
	if l.PreviousCursor != "" {
		dst = appendString(append(dst, `,"previousCursor":`...), l.PreviousCursor)
	}
	if l.NextCursor != "" {
		dst = appendString(append(dst, `,"nextCursor":`...), l.NextCursor)
	}
	return append(dst, `,"Resources":[`...)
}

// MarshalJSON serves encoding/json, which checks and copies the bytes once more: AppendJSON and WriteTo are cheaper. It
// returns no error.
func (l ListResponse) MarshalJSON() ([]byte, error) {
	return l.AppendJSON(make([]byte, 0, l.size())), nil
}

// WriteTo writes the message in one write, and returns the error of w.
func (l ListResponse) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(l.AppendJSON(make([]byte, 0, l.size())))
	return int64(n), err
}

func (l ListResponse) size() int {
	size := 256 + len(l.NextCursor) + len(l.PreviousCursor)
	for _, resource := range l.Resources {
		size += len(resource) + 1
	}
	return size
}
