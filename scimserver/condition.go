package scimserver

import (
	"net/http"
	"strings"

	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// condition is what If-Match and If-None-Match ask of the version that a change is made to (RFC 7644 section 3.14,
// RFC 9110 section 13.1).
func (x *exchange) condition() directory.Precondition {
	return directory.Precondition{Match: etagsIn(x.request.Header, "If-Match"), NoneMatch: etagsIn(x.request.Header, "If-None-Match")}
}

// notModified answers 304 where the client has this version already, and says whether it did.
func (x *exchange) notModified(version string) bool {
	noneMatch := etagsIn(x.request.Header, "If-None-Match")
	if noneMatch.IsZero() || !noneMatch.MatchWeak(version) {
		return false
	}
	x.writer.Header().Set("ETag", version)
	x.status = http.StatusNotModified
	x.writer.WriteHeader(http.StatusNotModified)
	return true
}

func etagsIn(header http.Header, name string) protocol.ETags {
	return protocol.ParseETags(strings.Join(header.Values(name), ","))
}
