package scimserver

import (
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// The endpoints of RFC 7644 section 3.2 that this server has.
const (
	endpointUsers                 = "Users"
	endpointGroups                = "Groups"
	endpointServiceProviderConfig = "ServiceProviderConfig"
	endpointResourceTypes         = "ResourceTypes"
	endpointSchemas               = "Schemas"
	endpointBulk                  = "Bulk"
	endpointMe                    = "Me"
	endpointSearch                = searchPath
	// Those of Okta's governance apps.
	endpointRoles        = "Roles"
	endpointEntitlements = "Entitlements"
	// endpointOAuth is that of an App's authorization server; its id says which part of it.
	endpointOAuth = "oauth"
)

// metadataPath is that of RFC 8414, before the path of an issuer.
var metadataPath = []string{".well-known", "oauth-authorization-server"}

// route is a request's path, taken apart.
type route struct {
	// app is set where the path names the App: /apps/{namespace}/{name}/….
	app types.NamespacedName
	// base is the part of the path before the endpoint, without a slash at the end.
	base string
	// endpoint is one of the constants above.
	endpoint string
	// id of one resource, "" for the endpoint itself.
	id string
}

// endpointOf returns the endpoint that a segment spells in any letter case, or the segment.
func endpointOf(segment string) string {
	for _, endpoint := range []string{
		endpointUsers, endpointGroups, endpointServiceProviderConfig, endpointResourceTypes, endpointSchemas, endpointBulk,
		endpointMe, endpointSearch, endpointRoles, endpointEntitlements,
	} {
		if strings.EqualFold(segment, endpoint) {
			return endpoint
		}
	}
	return segment
}

// parseRoute takes a path apart. The base is the bare host, /scim/v2, /scim or /v2, each also behind
// /apps/{namespace}/{name}; empty segments, which a base URL with a trailing slash makes, are passed over.
func parseRoute(escapedPath string) (route, bool) {
	var segments []string
	for segment := range strings.SplitSeq(escapedPath, "/") {
		if segment == "" {
			continue
		}
		decoded, err := url.PathUnescape(segment)
		if err != nil {
			return route{}, false
		}
		segments = append(segments, decoded)
	}
	var parsed route
	metadata := len(segments) == 5 && slices.Equal(segments[:2], metadataPath)
	if metadata {
		segments = append(segments[2:], endpointOAuth, "metadata")
	}
	if len(segments) >= 3 && segments[0] == "apps" {
		parsed.app = types.NamespacedName{Namespace: segments[1], Name: segments[2]}
		parsed.base = "/apps/" + url.PathEscape(segments[1]) + "/" + url.PathEscape(segments[2])
		segments = segments[3:]
		if len(segments) == 2 && segments[0] == endpointOAuth {
			parsed.endpoint, parsed.id = endpointOAuth, segments[1]
			return parsed, metadata || parsed.id != "metadata"
		}
	}
	for _, prefix := range []string{"scim", "v2"} {
		if len(segments) > 0 && segments[0] == prefix {
			parsed.base += "/" + prefix
			segments = segments[1:]
		}
	}
	if len(segments) == 0 || len(segments) > 2 {
		return parsed, false
	}
	parsed.endpoint = endpointOf(segments[0])
	if len(segments) == 2 {
		parsed.id = segments[1]
		if strings.EqualFold(parsed.id, searchPath) {
			parsed.id = searchPath
		}
	}
	switch parsed.endpoint {
	case endpointUsers, endpointGroups, endpointResourceTypes, endpointSchemas, endpointRoles, endpointEntitlements:
		return parsed, true
	case endpointServiceProviderConfig, endpointBulk, endpointMe, endpointSearch:
		return parsed, parsed.id == ""
	}
	return parsed, false
}
