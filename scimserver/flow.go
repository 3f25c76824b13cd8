package scimserver

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/flowcontrol"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// How requests share the server: what each costs, and what a refused one is told. Package flowcontrol decides.

// maxPatchLook is up to how many bytes of a group's PATCH are looked at for a removal.
const maxPatchLook = 1 << 20

// enter lets a request in, once its App's limits allow it. It reads the body where that decides whether the request takes access
// away: such a request never waits for others. leave is called when the request has ended. The error is a *flowcontrol.RefusalError,
// that of the body, or the context's.
func (s *Server) enter(x *exchange) (leave func(), err error) {
	if x.route.endpoint == endpointBulk && x.request.Method == http.MethodPost {
		body, err := x.body(maxBulkBody)
		if err != nil {
			return nil, err
		}
		return s.apps.EnterBulk(x.context(), x.credential.app, x.limits, bulkRemoval.Match(body) || mayDeactivate(body))
	}
	class, err := s.classOf(x)
	if err != nil {
		return nil, err
	}
	return s.apps.Enter(x.context(), x.credential.app, x.limits, class, costOf(x.route.endpoint, x.request.ContentLength))
}

const (
	// userCost is how many bytes of a user's body cost as much as an ordinary request.
	userCost = 8 << 10
	// groupCost is the same of a group's: a dozen members, each of which can be in another object.
	groupCost = 512
)

// unknownLength is what a body counts as if the client does not tell its length.
const unknownLength = 8 << 10

// costOf is what a request about one resource costs by the length of its body, in ordinary requests.
func costOf(endpoint string, length int64) int {
	if length < 0 {
		length = unknownLength
	}
	unit := int64(userCost)
	if endpoint == endpointGroups {
		unit = groupCost
	}
	return int(1 + length/unit)
}

// bulkRemoval is how a bulk request deletes. bulkRemoval and groupRemoval may match what is none: then the request waits for
// removals only.
var (
	bulkRemoval  = regexp.MustCompile(`(?i)"method"\s*:\s*"delete"`)
	groupRemoval = regexp.MustCompile(`(?i)"op"\s*:\s*"remove"`)
)

// classOf tells what a request costs.
func (s *Server) classOf(x *exchange) (flowcontrol.Class, error) {
	one := x.route.id != "" && x.route.id != searchPath
	switch x.request.Method {
	case http.MethodDelete:
		return flowcontrol.Removal, nil
	case http.MethodPut, http.MethodPatch:
		return s.classOfChange(x)
	case http.MethodPost:
		if x.route.endpoint == endpointSearch || x.route.id == searchPath {
			return flowcontrol.List, nil
		}
		return flowcontrol.Write, nil
	}
	if one || x.route.endpoint != endpointUsers && x.route.endpoint != endpointGroups || isLookUp(x.query()) {
		return flowcontrol.LookUp, nil
	}
	return flowcontrol.List, nil
}

// classOfChange reads the body of a PUT or PATCH, but for a PUT of a group, which is read as a stream.
func (s *Server) classOfChange(x *exchange) (flowcontrol.Class, error) {
	var body []byte
	var err error
	removes := mayDeactivate
	switch {
	case x.route.endpoint == endpointUsers:
		body, _, err = x.changeBody()
	case x.route.endpoint == endpointGroups && x.request.Method == http.MethodPatch:
		removes = func(body []byte) bool { return groupRemoval.Match(body[:min(len(body), maxPatchLook)]) }
		body, err = x.body(maxGroupPatch)
	default:
		return flowcontrol.Write, nil
	}
	if err != nil || !removes(body) {
		return flowcontrol.Write, err
	}
	return flowcontrol.Removal, nil
}

// oneEquals is the filter of a look-up, as identity providers send it before each step.
var oneEquals = regexp.MustCompile(`(?i)^\s*(userName|externalId|displayName|id|emails(\.value)?)\s+eq\s+("[^"]*"|[^\s"]+)\s*$`)

// isLookUp says whether a GET of a collection asks for one resource, or for a short page.
func isLookUp(query url.Values) bool {
	if filter := query.Get("filter"); filter != "" {
		return oneEquals.MatchString(filter)
	}
	count := query.Get("count")
	return !query.Has("sortBy") && (count == "0" || count == "1" || count == "2")
}

// operationClass is classOf for one operation of a bulk request.
func operationClass(method string, data []byte) flowcontrol.Class {
	if method == http.MethodDelete || (method == http.MethodPut || method == http.MethodPatch) && mayDeactivate(data) {
		return flowcontrol.Removal
	}
	return flowcontrol.Write
}

// step comes before each of many resources that a request looks at.
func (x *exchange) step() error {
	if x.scan == nil {
		x.scan = x.server.apps.Scan(x.context(), x.credential.app, x.limits)
	}
	err := x.scan.Step()
	if err != nil && x.context().Err() != nil {
		return &directory.UnavailableError{RetryAfter: scanRetry, Cause: err, Detail: "The server was too busy to look at all resources in time. Try again, or ask for less."}
	}
	return err
}

// scanRetry is the Retry-After for a scan that ran out of time.
const scanRetry = 10 * time.Second

// pause lets other requests scan while this one waits for its client.
func (x *exchange) pause() {
	if x.scan != nil {
		x.scan.Pause()
	}
}

// finish gives back what the request holds.
func (x *exchange) finish() {
	if x.scan != nil {
		x.scan.End()
	}
	for _, release := range x.releases {
		release()
	}
}

// refuse makes the answer to a request that must wait. The answer itself waits for a moment, so that a client that asks again at
// once does so less often.
func (x *exchange) refuse(refusal *flowcontrol.RefusalError) *protocol.Error {
	x.pause()
	x.refused(refusal.Reason)
	x.quiet = !x.server.refusals.Add(refusedKey{app: x.credential.app.String(), reason: refusal.Reason})
	if refusal.Reason == flowcontrol.ReasonBudget {
		return protocol.TooMany("%s", refusal.Detail)
	}
	if !x.inBulk && !x.server.apps.Refused(x.context()) {
		x.writer.Header().Set("Connection", "close")
	}
	x.writer.Header().Set("Retry-After", retryAfterSeconds(refusal.RetryAfter))
	return protocol.TooManyRequests("%s", refusal.Detail)
}

func (x *exchange) refused(reason string) {
	refusedRequests.WithLabelValues(x.credential.app.Namespace, x.credential.app.Name, reason).Inc()
}

// refusedKey is what refusals are summarised by.
type refusedKey struct{ app, reason string }

type (
	failureSummary = flowcontrol.Summary[netip.Prefix]
	refusalSummary = flowcontrol.Summary[refusedKey]
)

// anonymous answers a request that has no valid token: with err, or, where its source sends too many such, with 429.
func (s *Server) anonymous(x *exchange, err error) error {
	retryAfter, first := s.failures.Failed(x.context(), s.options.TrustedProxies.ClientAddress(x.request))
	x.quiet = !first
	if retryAfter == 0 {
		failedAuthentications.WithLabelValues("answered").Inc()
		return err
	}
	failedAuthentications.WithLabelValues("backoff").Inc()
	x.writer.Header().Del("WWW-Authenticate")
	x.writer.Header().Set("Connection", "close")
	x.writer.Header().Set("Retry-After", retryAfterSeconds(retryAfter))
	return protocol.TooManyRequests("Too many requests without a valid token came from this address. Check the token; then try again.")
}

// summarise logs what was left out of the log, a line a minute, until ctx ends.
func (s *Server) summarise(ctx context.Context) {
	go s.failures.Tally.Summarise(ctx, func(sum failureSummary) {
		s.options.Log.Info("Requests without a valid token in the last minute", "requests", sum.Total, "sources", sum.Keys,
			"mostFrom", sum.Most.String(), "ofThose", sum.MostTotal)
	})
	go s.refusals.Summarise(ctx, func(sum refusalSummary) {
		s.options.Log.Info("Requests beyond an App's limits in the last minute", "requests", sum.Total,
			"mostOfApp", sum.Most.app, "reason", sum.Most.reason, "ofThose", sum.MostTotal)
	})
}

func limitsOf(app *v1alpha1.App) flowcontrol.Limits {
	perSecond, burst := app.Spec.Limits.Rate()
	return flowcontrol.Limits{PerSecond: float64(perSecond), Burst: burst}
}
