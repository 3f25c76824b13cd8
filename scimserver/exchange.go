package scimserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// contentType of every answer with a body (RFC 7644 section 8.1). Strict clients want it without a charset.
const contentType = "application/scim+json"

// exchange is one request on its way through the server, and what its log line will say.
type exchange struct {
	server    *Server
	request   *http.Request
	requestID string
	writer    http.ResponseWriter
	log       logr.Logger

	route      route
	credential credential
	app        *v1alpha1.App
	// inBulk says that this is one operation of a bulk request.
	inBulk bool

	// For the log line.
	resourceID  string
	status      int
	written     int
	detail      string
	requestBody []byte
}

func (x *exchange) context() context.Context { return x.request.Context() }

// stream opens the request's body, at most limit bytes of a JSON type, in UTF-8 (RFC 7644 section 3.8).
func (x *exchange) stream(limit int64) (io.Reader, error) {
	if encoding := x.request.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, protocol.UnsupportedMediaType("Content-Encoding %q is not supported: send the body as it is.", encoding)
	}
	if value := x.request.Header.Get("Content-Type"); value != "" {
		mediaType, _, err := mime.ParseMediaType(value)
		if err != nil || (mediaType != contentType && mediaType != "application/json" && mediaType != "text/json") {
			return nil, protocol.UnsupportedMediaType("Content-Type %q is not supported: send application/scim+json.", value)
		}
	}
	return transform.NewReader(http.MaxBytesReader(x.writer, x.request.Body, limit), encoding.UTF8Validator), nil
}

// body reads the request's body, at most limit bytes of a JSON type.
func (x *exchange) body(limit int64) ([]byte, error) {
	stream, err := x.stream(limit)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(stream)
	if err != nil {
		return nil, readError(err, limit)
	}
	x.requestBody = body
	return body, nil
}

// readError turns the error of a body that was too long or broke off into one that the client understands.
func readError(err error, limit int64) error {
	var problem *protocol.Error
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil || errors.As(err, &problem):
		return err
	case errors.Is(err, encoding.ErrInvalidUTF8):
		return protocol.InvalidSyntax("The body is not in UTF-8.")
	case errors.As(err, &tooLarge):
		return protocol.PayloadTooLarge("The body is larger than %d bytes.", limit)
	default:
		return protocol.InvalidSyntax("The body could not be read to its end.")
	}
}

// answer writes a body that is already JSON.
func (x *exchange) answer(status int, body []byte) {
	header := x.writer.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	x.status = status
	x.writer.WriteHeader(status)
	if x.request.Method == http.MethodHead {
		return
	}
	n, err := x.writer.Write(body)
	x.written = n
	if err != nil {
		// The client is gone; what it asked for is done all the same.
		x.log.V(1).Info("Answer was not read to its end", "error", err.Error())
	}
}

// answerJSON writes a document.
func (x *exchange) answerJSON(status int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		x.fail(fmt.Errorf("encode the answer: %w", err))
		return
	}
	x.answer(status, body)
}

func (x *exchange) noContent() {
	x.status = http.StatusNoContent
	x.writer.WriteHeader(http.StatusNoContent)
}

// fail answers an error as SCIM does (RFC 7644 section 3.12). What is no fault of the request becomes 429 with
// Retry-After where a later attempt can succeed: Okta reschedules those by itself, and gives up on 5xx.
func (x *exchange) fail(err error) {
	var problem *protocol.Error
	var unavailable *directory.Unavailable
	switch {
	case errors.As(err, &problem):
	case errors.As(err, &unavailable):
		x.auditUndetermined()
		x.log.Error(err, "Asked the client to try again")
		x.writer.Header().Set("Retry-After", retryAfterSeconds(unavailable.RetryAfter))
		problem = protocol.TooManyRequests("%s", cmp.Or(unavailable.Detail, "The directory is busy or out of reach for the moment; nothing is lost. Try again."))
	default:
		x.log.Error(err, "Request failed")
		problem = protocol.Internal("The server failed to answer this request. Its log tells why.")
	}
	x.detail = problem.Detail
	x.answerJSON(problem.Status, problem)
}

// retryAfterSeconds rounds up to whole seconds: Okta understands nothing else.
func retryAfterSeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
