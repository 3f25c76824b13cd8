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
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/tracing"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
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
	limits     flowcontrol.Limits
	// inBulk says that this is one operation of a bulk request.
	inBulk bool

	// values are the parameters of the URL, once they were asked for.
	values url.Values

	// begun is when the request arrived; zero for an operation of a bulk request. progress bounds the wait for its client.
	begun    time.Time
	progress time.Duration
	// scan is the work over many resources; nil until there is some.
	scan *flowcontrol.Scan
	// releases give back what the request holds, when it has ended.
	releases []func()
	// aborted says that the connection is to be closed in the middle of the answer.
	aborted bool
	// quiet leaves the request out of the log: it is counted in a summary.
	quiet bool

	// span is the first one of the request's trace, if it has one.
	span tracing.Span
	// For the log line.
	resourceID  string
	status      int
	written     int
	detail      string
	requestBody []byte
}

func (x *exchange) context() context.Context { return x.request.Context() }

// query returns the parameters of the URL: to be read only.
func (x *exchange) query() url.Values {
	if x.values == nil {
		x.values = x.request.URL.Query()
	}
	return x.values
}

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
	if x.request.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	slow := &slowBody{ReadCloser: x.request.Body, exchange: x}
	return transform.NewReader(http.MaxBytesReader(x.writer, slow, limit), encoding.UTF8Validator), nil
}

// slowBody is a request's body. It fails where the client sends nothing within progress.
type slowBody struct {
	io.ReadCloser
	exchange *exchange
}

func (b *slowBody) Read(into []byte) (int, error) {
	b.exchange.extend((*http.ResponseController).SetReadDeadline, bodyTimeout)
	n, err := b.ReadCloser.Read(into)
	if errors.Is(err, io.EOF) && !b.exchange.begun.IsZero() {
		// The deadline would end the request's context while it is worked on.
		_ = http.NewResponseController(b.exchange.writer).SetReadDeadline(time.Time{})
	}
	return n, err
}

// bodyCost is how much memory a byte of a body takes that is held and decoded as a whole.
const bodyCost = 4

// hold counts memory that the request takes, until it has ended.
func (x *exchange) hold(bytes int64) error {
	if x.inBulk { // the bulk request holds it
		return nil
	}
	release, err := x.server.apps.Hold(x.context(), x.credential.app, x.limits, bytes)
	if err == nil {
		x.releases = append(x.releases, release)
	}
	return err
}

// bodySize is what a body has at most, in bytes.
func (x *exchange) bodySize(limit int64) int64 {
	if length := x.request.ContentLength; length >= 0 {
		return min(length, limit)
	}
	return limit
}

// body reads the request's body, at most limit bytes of a JSON type. A second call returns what the first one read.
func (x *exchange) body(limit int64) ([]byte, error) {
	if x.requestBody != nil {
		return x.requestBody, nil
	}
	stream, err := x.stream(limit)
	if err != nil {
		return nil, err
	}
	if err := x.hold(bodyCost * x.bodySize(limit)); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(stream)
	if err != nil {
		return nil, readError(err, limit)
	}
	x.requestBody = body
	return body, nil
}

var errSlowBody = &protocol.Error{Status: http.StatusRequestTimeout, Detail: "The body did not arrive in time. Send it without pauses, and again."}

// readError turns the error of a body that was too long or broke off into one that the client understands.
func readError(err error, limit int64) error {
	var problem *protocol.Error
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil || errors.As(err, &problem):
		return err
	case errors.Is(err, encoding.ErrInvalidUTF8):
		return protocol.InvalidSyntax("The body is not in UTF-8.")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlowBody
	case errors.As(err, &tooLarge):
		return bodyTooLarge(limit)
	default:
		return protocol.InvalidSyntax("The body could not be read to its end.")
	}
}

func bodyTooLarge(limit int64) error {
	return protocol.PayloadTooLarge("The body is larger than %d bytes.", limit)
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
	var unavailable *directory.UnavailableError
	var refusal *flowcontrol.RefusalError
	switch {
	case errors.As(err, &problem):
	case errors.As(err, &refusal):
		problem = x.refuse(refusal)
	case errors.As(err, &unavailable):
		x.auditUndetermined()
		x.log.Error(err, "Asked the client to try again")
		x.writer.Header().Set("Retry-After", retryAfterSeconds(unavailable.RetryAfter))
		problem = protocol.TooManyRequests("%s", cmp.Or(unavailable.Detail, "The directory is busy or out of reach for the moment; nothing is lost. Try again."))
	default:
		x.log.Error(err, "Request failed")
		problem = protocol.Internal("The server failed to answer this request. Its log tells why.")
	}
	if problem == errSlowBody {
		x.writer.Header().Set("Connection", "close")
		x.refused(flowcontrol.ReasonStalled)
	}
	x.detail = problem.Detail
	x.answerJSON(problem.Status, problem)
}

// retryAfterSeconds rounds up to whole seconds: Okta understands nothing else.
func retryAfterSeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
