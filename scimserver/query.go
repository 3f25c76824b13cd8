package scimserver

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const (
	// defaultPageSize is how many resources a list answers where the client does not say.
	defaultPageSize = 100
	// maxPageSize is the most that one page holds; it is advertised as filter.maxResults.
	maxPageSize = 1000
)

// listQuery is what a list asks for, by GET (RFC 7644 section 3.4.2) or by POST /.search (section 3.4.3).
type listQuery struct {
	filter     string
	sort       protocol.Sort
	projection protocol.Projection
	// startIndex counts from 1; count is 0 to maxPageSize.
	startIndex, count int
	// cursor is nil where pages go by index; a cursor without a place is the first page (RFC 9865).
	cursor *cursor
}

func parseListQuery(endpoint string, values url.Values) (listQuery, error) {
	query := listQuery{filter: strings.TrimSpace(values.Get("filter"))}
	if values.Has("filter") && query.filter == "" {
		return query, protocol.EmptyFilter()
	}
	startIndex, err := integerParameter(values, "startIndex")
	if err != nil {
		return query, err
	}
	count, err := integerParameter(values, "count")
	if err != nil && values.Has("cursor") {
		err = protocol.InvalidCount("The query parameter count must be an integer.")
	}
	if err != nil {
		return query, err
	}
	if query.projection, err = parseProjection(values); err != nil {
		return query, err
	}
	if query.sort, err = protocol.ParseSort(values.Get("sortBy"), values.Get("sortOrder")); err != nil {
		return query, err
	}
	var given *string
	if values.Has("cursor") {
		given = new(values.Get("cursor"))
	}
	digest := queryDigest(endpoint, query.filter, values.Get("sortBy"), values.Get("sortOrder"))
	return query, query.setPosition(startIndex, count, given, digest)
}

// fromSearch takes the same from the body of a search request.
func fromSearch(endpoint string, request protocol.SearchRequest) (listQuery, error) {
	query := listQuery{filter: strings.TrimSpace(request.Filter), projection: request.Projection}
	var err error
	if query.sort, err = protocol.ParseSort(request.SortBy, request.SortOrder); err != nil {
		return query, err
	}
	digest := queryDigest(endpoint, query.filter, request.SortBy, request.SortOrder)
	return query, query.setPosition(request.StartIndex, request.Count, request.Cursor, digest)
}

// setPosition settles where the page begins and how long it is. A startIndex below 1 is read as 1, a negative count as 0
// (RFC 7644 section 3.4.2.4).
func (q *listQuery) setPosition(startIndex, count *int, given *string, digest uint32) error {
	q.startIndex, q.count = 1, defaultPageSize
	if startIndex != nil {
		q.startIndex = max(*startIndex, 1)
	}
	if count != nil {
		q.count = min(max(*count, 0), maxPageSize)
	}
	if given == nil {
		return nil
	}
	var err error
	q.cursor, err = parseCursor(*given, digest)
	return err
}

func parseProjection(values url.Values) (protocol.Projection, error) {
	names := func(parameter string) string { return strings.Join(values[parameter], ",") }
	return protocol.ParseProjection(names("attributes"), names("excludedAttributes"))
}

func integerParameter(values url.Values, name string) (*int, error) {
	text := values.Get(name)
	if text == "" {
		return nil, nil
	}
	value, err := strconv.Atoi(text)
	if err != nil {
		return nil, protocol.InvalidValue("The query parameter %s must be an integer.", name)
	}
	return &value, nil
}
