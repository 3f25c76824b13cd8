package scimserver

import (
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// maxSearchBody bounds the body of a search request, in bytes.
const maxSearchBody = 64 << 10

// searchPath is the last part of the path of a search request (RFC 7644 section 3.4.3).
const searchPath = ".search"

func (x *exchange) searchQuery() (listQuery, error) {
	body, err := x.body(maxSearchBody)
	if err != nil {
		return listQuery{}, err
	}
	request, err := protocol.DecodeSearchRequest(body)
	if err != nil {
		return listQuery{}, err
	}
	return fromSearch(x.route.endpoint, request)
}

func (s *Server) searchUsers(x *exchange) error {
	query, err := x.searchQuery()
	if err != nil {
		return err
	}
	return userHandlers{s}.answerUsers(x, query)
}

func (s *Server) searchGroups(x *exchange) error {
	query, err := x.searchQuery()
	if err != nil {
		return err
	}
	return groupHandlers{s}.groups(x).list(x, query)
}

// searchAll answers POST /.search: users first, then groups, each in the order that the request asks for.
func (s *Server) searchAll(x *exchange) error {
	query, err := x.searchQuery()
	if err != nil {
		return err
	}
	if query.cursor != nil {
		return protocol.InvalidCursor("A search of all resource types is paged by startIndex. Search /Users or /Groups to page by cursor.")
	}
	users, err := userHandlers{s}.users(x).results(query)
	if err != nil {
		return err
	}
	groups, err := groupHandlers{s}.groups(x).results(query)
	if err != nil {
		return err
	}
	return answerResults(x, query, results{total: users.total + groups.total, page: func(from, count int) (page, error) {
		first, err := users.page(min(from, users.total), count)
		if err != nil || first.count == count {
			return first, err
		}
		rest, err := groups.page(max(0, from-users.total), count-first.count)
		return first.and(rest), err
	}})
}
