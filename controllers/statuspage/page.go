// Package statuspage is one HTML page about all Apps, for a person that looks after the cluster: what works, what does not and
// what to do. It reads what the controller's informers and metrics hold, and writes nothing.
//
// The page needs no script and loads nothing from elsewhere. Its texts come from tenants: html/template escapes them, and a
// Content-Security-Policy lets nothing run but the page's own script. cmd/scim-operator decides which requests reach it.
package statuspage

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"html/template"
	"net/http"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/controllers/inventory"
	"github.com/scim-operator/scim-operator/controllers/policycheck"
)

// buildTimeout bounds the making of a page, from memory.
const buildTimeout = 10 * time.Second

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	page = template.Must(template.New("page").Parse(pageHTML))

	policy = "default-src 'none'; style-src " + hash(pageCSS) + "; script-src " + hash(pageJS) +
		"; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// hash names an inline style or script in a Content-Security-Policy.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Source is what one manager knows.
type Source struct {
	// Reader reads the manager's informers.
	Reader client.Reader
	// Inventory counts what they hold.
	Inventory *inventory.Inventory
	// Leads says whether the process leads.
	Leads func() bool
	// Policies returns the admission policies that are not in place, of how many, and whether they were looked at.
	Policies func() (findings []policycheck.Finding, all int, known bool)
	// Definitions returns the same of the CustomResourceDefinitions.
	Definitions func() (findings []policycheck.Finding, all int, known bool)
}

// Page answers requests for the status page, of whichever manager the process has. The zero value tells that there is none yet.
type Page struct{ source atomic.Pointer[Source] }

// Use has the page tell of a manager; nil of none.
func (p *Page) Use(source *Source) { p.source.Store(source) }

// ServeHTTP answers GET and HEAD with the page, and what else there is with 405.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "The status page is read by GET.", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), buildTimeout)
	defer cancel()
	var out bytes.Buffer
	view, err := p.view(ctx, time.Now())
	if err == nil {
		err = page.Execute(&out, view)
	}
	if err != nil {
		http.Error(w, "The page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(out.Bytes())
}

// OnLoopback refuses requests with a Host that is not of this machine: a page of elsewhere that has its own name resolve to
// 127.0.0.1 could read the answer otherwise, while port-forward runs.
func OnLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			http.Error(w, "The status page is served under localhost and loopback addresses only.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
