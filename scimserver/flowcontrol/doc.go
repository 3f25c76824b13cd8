// Package flowcontrol keeps one client, one tenant and one request from taking what others need of one server process: requests
// a second and requests at once by App, processor time of scans, memory of bodies and answers, failed authentications by source
// address, and connections.
//
// It stands between HTTP and the directory: package scimserver asks it before a request is worked on. It knows Apps by name
// only. Everything holds for one process: N replicas together let N times as much through.
package flowcontrol

import (
	"fmt"
	"time"
)

// Reasons of refusals, as the metric scim_operator_refused_requests_total has them.
const (
	ReasonRate        = "rate"        // more requests a second than the App's limit
	ReasonConcurrency = "concurrency" // as many requests of the App are under way as may be
	ReasonMemory      = "memory"      // bodies of the App's requests hold as much memory as they may
	ReasonBudget      = "budget"      // a scan took more processor time than one request may
	ReasonStalled     = "stalled"     // the client sends or reads too slowly: the connection is closed
)

// RefusalError is the error of a request that must wait. The same request can succeed after RetryAfter.
type RefusalError struct {
	Reason     string
	RetryAfter time.Duration
	// Detail is what the client is told.
	Detail string
}

func (r *RefusalError) Error() string { return fmt.Sprintf("refused for %s: %s", r.Reason, r.Detail) }
