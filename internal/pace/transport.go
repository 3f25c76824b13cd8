package pace

import (
	"net/http"
	"strings"
	"time"
)

// Transport has a client's requests followed, those about one object: lists and watches take as long as they are large.
func (p *Pace) Transport(next http.RoundTripper) http.RoundTripper { return transport{next, p} }

type transport struct {
	http.RoundTripper
	pace *Pace
}

// RoundTrip implements http.RoundTripper. Errors are those of the transport below.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	of, about := kindOf(request.Method, request.URL.Path)
	if !about {
		return t.RoundTripper.RoundTrip(request)
	}
	begun := time.Now()
	response, err := t.RoundTripper.RoundTrip(request)
	if err != nil {
		return response, err
	}
	switch {
	case response.StatusCode == http.StatusTooManyRequests:
		t.pace.observe(of, 0, true)
	case response.StatusCode < 300:
		t.pace.observe(of, time.Since(begun), false)
	}
	return response, nil
}

// kindOf tells method and resource of a request about one object; about is false for others. A path is
// /apis/GROUP/VERSION[/namespaces/NAMESPACE]/RESOURCE[/NAME[/SUBRESOURCE]], or the same after /api/v1.
func kindOf(method, path string) (of string, about bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	default:
		return "", false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	of = method + " " + parts[0]
	if len(parts) > 2 {
		of += "/" + parts[2]
	}
	return of, method == http.MethodPost || len(parts) > 1
}
