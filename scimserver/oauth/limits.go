package oauth

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/lru"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

const (
	// maxPending requests of an App wait for a decision at a time: each is an object in the cluster, and whoever knows the client's ID
	// can ask for one.
	maxPending = 20
	// maxRemembered sources or Apps; the one that was seen longest ago is forgotten first.
	maxRemembered = 4096
)

// limits bound what browsers and clients may ask for.
type limits struct {
	// begin bounds requests to authorize of one network, page what their pages ask for, source forms of one network, and client the
	// forms of an App's client, once it is known to be that.
	// replay bounds what is told of used assertions of one OAuthGrant.
	begin, page, source, client, replay *limiters
}

func newLimits() *limits {
	return &limits{
		begin:  newLimiters(rate.Every(20*time.Second), 6),
		page:   newLimiters(5, 60),
		source: newLimiters(20, 200),
		client: newLimiters(5, 50),
		replay: newLimiters(1, 5),
	}
}

// limiters are one limiter a key.
type limiters struct {
	limit rate.Limit
	burst int
	known *lru.Cache
}

func newLimiters(limit rate.Limit, burst int) *limiters {
	return &limiters{limit: limit, burst: burst, known: lru.New(maxRemembered)}
}

// allow may make two limiters for one key at the same time, of which one is kept.
func (l *limiters) allow(key string) bool {
	if known, ok := l.known.Get(key); ok {
		if limiter, ok := known.(*rate.Limiter); ok {
			return limiter.Allow()
		}
	}
	limiter := rate.NewLimiter(l.limit, l.burst)
	l.known.Add(key, limiter)
	return limiter.Allow()
}

func appKey(app *v1alpha1.App) string { return app.Namespace + "/" + app.Name }

// refusedForm is the answer of RFC 6749 section 5.2 to a form that cannot be read.
func refusedForm(description string) *Answer {
	body, _ := json.Marshal(map[string]string{"error": "invalid_request", "error_description": description}) // of two strings
	return &Answer{Status: http.StatusBadRequest, Body: body, Header: http.Header{
		"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
	}}
}

func asset(contentType, text string) func(context.Context, *Call) (*Answer, error) {
	return func(context.Context, *Call) (*Answer, error) {
		return &Answer{Status: http.StatusOK, Body: []byte(text), Header: http.Header{
			"Content-Type": {contentType}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
		}}, nil
	}
}
