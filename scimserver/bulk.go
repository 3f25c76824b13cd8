package scimserver

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

const (
	maxBulkOperations = 1000
	// maxBulkBody bounds the body of a bulk request, in bytes.
	maxBulkBody = 4 << 20
	// bulkAtOnce is how many operations of one request are under way at a time. More would not end sooner, and hold up others.
	bulkAtOnce = 16
)

// bulk answers POST /Bulk (RFC 7644 section 3.7): each operation goes the way that its own request would.
func (s *Server) bulk(x *exchange) error {
	body, err := x.body(maxBulkBody)
	if err != nil {
		return err
	}
	request, err := protocol.DecodeBulk(body, protocol.BulkLimits{MaxOperations: maxBulkOperations, MaxPayloadSize: maxBulkBody})
	if err != nil {
		return err
	}
	run := &bulkRun{server: s, exchange: x, request: &request, ids: protocol.BulkIDs{}, results: make([]*protocol.BulkResult, len(request.Operations))}
	steps := request.Plan()
	names := func(endpoint, id string) map[string]string { return s.directory.NamesOf(x.app, endpoint, id) }
	schedule := bulkSchedule{after: request.Dependencies(steps, names), stops: request.Stops}
	schedule.run(bulkAtOnce, func(at int) bool { return run.step(steps[at]) })
	var results []protocol.BulkResult
	for _, result := range run.results {
		if result != nil {
			results = append(results, *result)
		}
	}
	x.answer(http.StatusOK, protocol.AppendBulkResponse(nil, results))
	return nil
}

// bulkRun is one bulk request under way.
type bulkRun struct {
	server   *Server
	exchange *exchange
	request  *protocol.BulkRequest

	mu  sync.Mutex
	ids protocol.BulkIDs
	// results by operation; nil for what was not attempted.
	results []*protocol.BulkResult
}

// finish notes a result, and reports whether it is an error.
func (b *bulkRun) finish(index int, result protocol.BulkResult) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	operation := b.request.Operations[index]
	if operation.Method == http.MethodPost && result.Status < 300 && operation.BulkID != "" {
		b.ids[operation.BulkID] = result.Location[strings.LastIndex(result.Location, "/")+1:]
	}
	b.results[index] = &result
	return result.Status >= 400
}

// resolved is the path and the data of an operation with the ids of what was created.
func (b *bulkRun) resolved(operation protocol.BulkOperation, part bool) (path string, data []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if path, err = b.ids.ResolvePath(operation); err != nil {
		return "", nil, err
	}
	if part {
		data, err = b.ids.ResolvePart(operation)
	} else {
		data, err = b.ids.Resolve(operation)
	}
	return path, data, err
}

func (b *bulkRun) result(index int) protocol.BulkResult {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.results[index]
}

// step does one step, and reports whether it ended in an error.
func (b *bulkRun) step(step protocol.BulkStep) (failed bool) {
	operation := b.request.Operations[step.Index]
	defer func() {
		if cause := recover(); cause != nil {
			logPanic(b.exchange.log, cause)
			failed = b.finish(step.Index, b.failure(operation, "", errors.New("panic")))
		}
	}()
	switch step.Phase {
	case protocol.BulkRefused:
		if operation.DataRefused {
			return b.refuseData(step.Index, operation, operation.Err)
		}
		return b.finish(step.Index, b.failure(operation, "", operation.Err))
	case protocol.BulkRest:
		return b.complete(step.Index, operation)
	default:
		path, data, err := b.resolved(operation, step.Phase == protocol.BulkPart)
		if err != nil {
			return b.refuseData(step.Index, operation, err)
		}
		return b.finish(step.Index, b.attempt(operation, operation.Method, path, data))
	}
}

// complete gives a resource that was created without what did not exist yet the rest.
func (b *bulkRun) complete(index int, operation protocol.BulkOperation) (failed bool) {
	created := b.result(index)
	if created.Status >= 400 {
		return false // that has been counted
	}
	_, data, err := b.resolved(operation, false)
	if err != nil {
		return b.finish(index, b.failure(operation, created.Location, err))
	}
	path := operation.Path + created.Location[strings.LastIndex(created.Location, "/"):]
	result := b.attempt(operation, http.MethodPut, path, data)
	if result.Status < 400 {
		result.Status = created.Status
	}
	return b.finish(index, result)
}

// refuseData ends an operation with data that cannot be taken as it is. A deactivation in it is done all the same, as changeUser does.
func (b *bulkRun) refuseData(index int, operation protocol.BulkOperation, err error) (failed bool) {
	refused := b.failure(operation, "", err)
	schemas := b.server.directory.Users.Schemas(b.exchange.app)
	target, _ := parseRoute(operation.Path)
	if target.endpoint != endpointUsers || !deactivates(schemas, operation.Method, operation.Data) {
		return b.finish(index, refused)
	}
	alone := b.attempt(operation, http.MethodPatch, operation.Path, []byte(deactivationAlone))
	if alone.Status >= http.StatusBadRequest && alone.Status != http.StatusTooManyRequests {
		return b.finish(index, refused)
	}
	if alone.Status == http.StatusOK {
		b.exchange.warn(tookActiveOnly, "id", target.id, "detail", err.Error())
	}
	return b.finish(index, alone)
}

// deactivationAlone is the smallest PATCH that deactivates.
const deactivationAlone = `{"schemas":["` + protocol.PatchOpSchema + `"],"Operations":[{"op":"replace","value":{"active":false}}]}`

func (b *bulkRun) failure(operation protocol.BulkOperation, location string, err error) protocol.BulkResult {
	var problem *protocol.Error
	if !errors.As(err, &problem) {
		b.exchange.log.Error(err, "Bulk operation failed")
		problem = protocol.Internal("The server failed to answer this operation. Its log tells why.")
	}
	return protocol.BulkFailure(operation, location, problem)
}

// work does one operation, once the limits of the App let it, if the token still opens the App and has the scopes: each operation is
// judged as its own request would be, at the moment when its turn has come.
func (b *bulkRun) work(sub *exchange, handler handler, class flowcontrol.Class, cost int) error {
	leave, err := b.server.apps.EnterOperation(sub.context(), sub.credential.app, sub.limits, class, cost)
	if err != nil {
		return err
	}
	defer leave()
	if err := sub.rejudge(); err != nil {
		return err
	}
	if err := sub.permit(); err != nil {
		return err
	}
	return handler(sub)
}

// attempt sends one operation to the endpoint that its own request would go to.
func (b *bulkRun) attempt(operation protocol.BulkOperation, method, path string, data []byte) protocol.BulkResult {
	answer := &capture{header: http.Header{}}
	sub := &exchange{
		request: b.subrequest(method, path, operation.Version, data),
		server:  b.server, requestID: b.exchange.requestID, limits: b.exchange.limits,
		writer: answer, log: b.exchange.log, credential: b.exchange.credential, app: b.exchange.app, inBulk: true,
	}
	parsed, known := parseRoute(path)
	sub.route = parsed
	// Locations begin where those of the bulk request itself do.
	sub.route.base = b.exchange.route.base
	handler := b.server.handlers(parsed)[method]
	switch {
	case !known || parsed.app.Name != "" || (parsed.endpoint != endpointUsers && parsed.endpoint != endpointGroups) || parsed.id == searchPath:
		sub.fail(protocol.NotFound("There is no resource for a bulk operation at this path."))
	case handler == nil:
		sub.fail(protocol.MethodNotAllowed("%s is not allowed on this endpoint.", method))
	default:
		if err := b.work(sub, handler, operationClass(method, data), costOf(parsed.endpoint, int64(len(data)))); err != nil {
			sub.fail(err)
		}
	}
	result := protocol.BulkResult{
		Method: operation.Method, BulkID: operation.BulkID, Status: sub.status,
		Location: answer.header.Get("Location"), Version: answer.header.Get("ETag"),
	}
	if result.Location == "" && parsed.id != "" {
		result.Location = b.server.baseURL(b.exchange) + "/" + parsed.endpoint + "/" + url.PathEscape(parsed.id)
	}
	if result.Status >= 400 {
		result.Response = answer.body.Bytes()
	}
	return result
}

func (b *bulkRun) subrequest(method, path, version string, data []byte) *http.Request {
	request := b.exchange.request.Clone(b.exchange.context())
	request.Method, request.URL = method, &url.URL{Path: path}
	// The audit tells by X-Forwarded-For where the request came from.
	forwarded := b.exchange.request.Header["X-Forwarded-For"]
	request.Header = http.Header{"Content-Type": {contentType}, "X-Forwarded-For": forwarded}
	if version != "" {
		request.Header.Set("If-Match", version)
	}
	request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	return request
}

// capture is the answer to one operation.
type capture struct {
	header http.Header
	body   bytes.Buffer
}

func (c *capture) Header() http.Header { return c.header }

func (c *capture) WriteHeader(int) {}

func (c *capture) Write(data []byte) (int, error) { return c.body.Write(data) }
