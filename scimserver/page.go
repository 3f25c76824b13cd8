package scimserver

import (
	"encoding/json"
	"net/http"
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

// listQuery is what a list request asks for (RFC 7644 section 3.4.2).
type listQuery struct {
	filter     string
	projection protocol.Projection
	// startIndex counts from 1; count is 0 to maxPageSize.
	startIndex, count int
}

func parseListQuery(values url.Values) (listQuery, error) {
	query := listQuery{filter: strings.TrimSpace(values.Get("filter"))}
	var err error
	if query.startIndex, err = integerParameter(values, "startIndex", 1, 1); err != nil {
		return query, err
	}
	if query.count, err = integerParameter(values, "count", defaultPageSize, 0); err != nil {
		return query, err
	}
	query.count = min(query.count, maxPageSize)
	query.projection, err = parseProjection(values)
	return query, err
}

func parseProjection(values url.Values) (protocol.Projection, error) {
	return protocol.ParseProjection(values.Get("attributes"), values.Get("excludedAttributes"))
}

// integerParameter reads a number; a smaller one than the least is read as the least (RFC 7644 section 3.4.2.4).
func integerParameter(values url.Values, name string, absent, least int) (int, error) {
	text := values.Get(name)
	if text == "" {
		return absent, nil
	}
	value, err := strconv.Atoi(text)
	if err != nil {
		return 0, protocol.InvalidValue("The query parameter %s must be an integer.", name)
	}
	return max(value, least), nil
}

// pageOf cuts a page out of all matches. startIndex past the end gives an empty page.
func pageOf[T any](all []T, query listQuery) []T {
	from := min(query.startIndex-1, len(all))
	return all[from:min(from+query.count, len(all))]
}

func (x *exchange) answerList(query listQuery, total int, resources []json.RawMessage) {
	list := protocol.ListResponse{TotalResults: total, StartIndex: query.startIndex, Resources: resources}
	x.answer(http.StatusOK, list.AppendJSON(nil))
}
