package scimserver

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
	"time"

	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// cursor is a place in a list, by the last resource that was answered (RFC 9865). It holds no secret and no state: any
// replica takes it, at any time, and a client that makes one up gains nothing, because the query decides what is seen.
type cursor struct {
	// Query tells whether the cursor belongs to the request's endpoint, filter and order.
	Query uint32 `json:"q"`
	// ID of the last resource; "" before the first.
	ID string `json:"i,omitempty"`
	// Created places it in the order of creation; Key in the order of the sort.
	Created time.Time         `json:"c,omitzero"`
	Key     *protocol.SortKey `json:"k,omitempty"`
}

// parseCursor reads a cursor as the client gave it back; empty is the first page.
func parseCursor(text string, identity []string) (*cursor, error) {
	query := queryDigest(identity)
	if text == "" {
		return &cursor{Query: query}, nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, protocol.InvalidCursor("The cursor is none that this server gave out.")
	}
	var place cursor
	if err := json.Unmarshal(decoded, &place); err != nil || place.ID == "" {
		return nil, protocol.InvalidCursor("The cursor is none that this server gave out.")
	}
	if place.Query != query {
		return nil, protocol.InvalidCursor("The cursor belongs to a request of another endpoint, filter or order.")
	}
	return &place, nil
}

func (c cursor) String() string {
	encoded, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, a time and a key: there is no input that does this
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

func queryDigest(identity []string) uint32 {
	sum := sha256.Sum256([]byte(strings.Join(identity, "\x00")))
	return binary.BigEndian.Uint32(sum[:])
}
