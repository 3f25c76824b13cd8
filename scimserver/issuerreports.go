package scimserver

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/scimserver/issuers"
)

// maxIssuerMessage bounds status.oidc.message, in bytes.
const maxIssuerMessage = 1000

// issuerReports write into Apps what this server saw of their issuers, and when a token of one was used (status.oidc). Several replicas
// do: each write names its server, has the App's resourceVersion as precondition, and is made when this server's own outcome changes, or
// about four times an hour. Safe for concurrent use.
type issuerReports struct {
	client client.StatusClient
	set    *issuers.Set
	app    func(types.NamespacedName) (*v1alpha1.App, bool)
	log    logr.Logger
	now    func() time.Time
	// server names this process.
	server string

	mu sync.Mutex
	// used are uses that were not written yet.
	used map[types.NamespacedName]issuerUse
	// told is what this server last wrote or found written.
	told map[types.NamespacedName]issuerTold
	// rest is until when nothing is written into an App: the watch may not have shown the last write yet.
	rest map[types.NamespacedName]time.Time
}

type issuerUse struct {
	at      time.Time
	subject string
}

// issuerTold is an outcome, for one generation of the App.
type issuerTold struct {
	generation int64
	reachable  bool
	message    string
}

func newIssuerReports(statuses client.StatusClient, set *issuers.Set, app func(types.NamespacedName) (*v1alpha1.App, bool), log logr.Logger) *issuerReports {
	name, err := os.Hostname()
	if err != nil {
		name = "of unknown name"
	}
	return &issuerReports{
		client: statuses, set: set, app: app, log: log, now: time.Now, server: clip.Text(name, maxSubject),
		used: map[types.NamespacedName]issuerUse{}, told: map[types.NamespacedName]issuerTold{}, rest: map[types.NamespacedName]time.Time{},
	}
}

// note remembers that a token of an issuer was used now.
func (r *issuerReports) note(opened credential) {
	if opened.foreign == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used[opened.app] = issuerUse{r.now(), opened.foreign.subject}
}

// run writes what is due until ctx ends.
func (r *issuerReports) run(ctx context.Context) { everyUses(ctx, r.write) }

// write writes what is due, of usesAtOnce Apps at most.
func (r *issuerReports) write(ctx context.Context) {
	written := 0
	apps := r.set.Apps()
	r.forgetOthers(apps)
	for _, name := range apps {
		app, found := r.app(name)
		if !found || app.Spec.OIDC == nil || r.rests(name) {
			continue
		}
		report := r.due(app)
		if report == nil {
			continue
		}
		if written++; written > usesAtOnce {
			return
		}
		r.setRest(name)
		err := r.patch(ctx, app, &report.status)
		switch {
		case err == nil:
			r.wrote(name, report)
		case client.IgnoreNotFound(err) != nil && ctx.Err() == nil:
			r.log.V(1).Info("What was seen of an App's issuer was not written", "app", name.String(), "cause", err.Error())
		}
	}
}

// forgetOthers ends what is remembered of Apps without an issuer.
func (r *issuerReports) forgetOthers(apps []types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	listed := make(map[types.NamespacedName]bool, len(apps))
	for _, name := range apps {
		listed[name] = true
	}
	for name := range r.used {
		if !listed[name] {
			delete(r.used, name)
		}
	}
	for name := range r.told {
		if !listed[name] {
			delete(r.told, name)
		}
	}
	for name := range r.rest {
		if !listed[name] {
			delete(r.rest, name)
		}
	}
}

func (r *issuerReports) rests(name types.NamespacedName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now().Before(r.rest[name])
}

// reportRest is the time between two writes of this server into one App.
const reportRest = 3 * time.Second

func (r *issuerReports) setRest(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest[name] = r.now().Add(reportRest)
}

// issuerReport is a status to be written, and what it is made of.
type issuerReport struct {
	status v1alpha1.ForeignIssuerStatus
	told   *issuerTold
	use    *issuerUse
}

// due returns what is to be written into an App; nil where nothing is.
func (r *issuerReports) due(app *v1alpha1.App) *issuerReport {
	report := &issuerReport{}
	if app.Status.OIDC != nil {
		report.status = *app.Status.OIDC
	}
	outcome, known := r.set.Outcome(app)
	seen := known && r.dueOutcome(app, report, outcome)
	used := r.dueUse(client.ObjectKeyFromObject(app), report)
	if !seen && !used {
		return nil
	}
	return report
}

// dueOutcome sets what the last read met, and says whether that is to be written: nothing was for this generation or for a while, or this
// server's own outcome became another one. What another server wrote stays, if this one can read the keys as it could before.
func (r *issuerReports) dueOutcome(app *v1alpha1.App, report *issuerReport, outcome issuers.Outcome) bool {
	name, status := client.ObjectKeyFromObject(app), &report.status
	told := issuerTold{generation: app.Generation, reachable: outcome.Err == nil, message: r.messageOf(outcome)}
	stored := issuerTold{status.ObservedGeneration, status.Reachable, status.Message}
	current := stored.generation == told.generation && status.CheckedTime != nil && r.now().Sub(status.CheckedTime.Time) < usesApart
	r.mu.Lock()
	defer r.mu.Unlock()
	before, toldBefore := r.told[name]
	changed := stored != told && before != told
	if told.reachable {
		changed = !stored.reachable && toldBefore && !before.reachable
	}
	if current && !changed {
		r.told[name] = told
		return false
	}
	report.told = &told
	status.ObservedGeneration, status.Reachable, status.Message = told.generation, told.reachable, told.message
	status.CheckedTime = &metav1.Time{Time: outcome.At.UTC().Truncate(time.Second)}
	return true
}

// dueUse sets the last use, and says whether it is to be written.
func (r *issuerReports) dueUse(name types.NamespacedName, report *issuerReport) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	use, found := r.used[name]
	if !found {
		return false
	}
	if last := report.status.LastUsedTime; last != nil && use.at.Sub(last.Time) < usesApart {
		delete(r.used, name)
		return false
	}
	report.use = &use
	report.status.LastUsedTime = &metav1.Time{Time: use.at.UTC().Truncate(time.Second)}
	report.status.LastSubject = use.subject
	return true
}

// wrote remembers what is in etcd now. What failed to be written stays due.
func (r *issuerReports) wrote(name types.NamespacedName, report *issuerReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if report.told != nil {
		r.told[name] = *report.told
	}
	if report.use != nil && r.used[name] == *report.use {
		delete(r.used, name)
	}
}

func (r *issuerReports) messageOf(outcome issuers.Outcome) string {
	if outcome.Err != nil {
		return clip.Text(fmt.Sprintf("Server %s could not read the issuer's keys: %s.", r.server, outcome.Err), maxIssuerMessage)
	}
	return fmt.Sprintf("Server %s read the issuer's keys: %d that can sign.", r.server, outcome.Keys)
}

func (r *issuerReports) patch(ctx context.Context, app *v1alpha1.App, status *v1alpha1.ForeignIssuerStatus) error {
	ctx, cancel := context.WithTimeout(ctx, usesTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]string{"resourceVersion": app.ResourceVersion},
		"status":   map[string]any{"oidc": status},
	})
	if err != nil {
		return err
	}
	object := &v1alpha1.App{}
	object.Namespace, object.Name = app.Namespace, app.Name
	return r.client.Status().Patch(ctx, object, client.RawPatch(types.MergePatchType, patch))
}
