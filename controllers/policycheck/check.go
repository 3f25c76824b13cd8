// Package policycheck tells whether the cluster has the admission policies of this version, with their bindings, and its
// CustomResourceDefinitions. RBAC alone bounds tenants, the server and the controller where a policy is missing, or another is in its
// place. Of objects, the API server drops fields that a definition does not know, and checks what that asks for. It reads them by name,
// all that its rights allow, and changes nothing.
//
// A controller without them goes on: leavers must lose their access, whatever else is wrong.
package policycheck

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/config"
	"github.com/scim-operator/scim-operator/internal/clip"
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

const (
	// every is the time between two looks, soon the one after a look that failed or found something.
	every = time.Minute
	soon  = 10 * time.Second
	// grace is how long something may be found before it is told: an update applies policies and replaces the controller one after the other.
	grace = 2 * time.Minute
	// lookTimeout bounds one look.
	lookTimeout = 30 * time.Second
	// reminder is after how long the log and an Event tell again of what has not changed; Events last an hour.
	reminder = 30 * time.Minute
)

// States of a policy, a binding or a definition.
const (
	InPlace = "in_place"
	Missing = "missing"
	// Changed says that its specification is not that of this version.
	Changed = "changed"
	// Unreadable says that the controller has no right to read it.
	Unreadable = "unreadable"
)

var states = []string{InPlace, Missing, Changed, Unreadable}

var (
	policies = telemetry.Gauge(telemetry.Controller, "admission_policies",
		"Admission policies and bindings of this version by how the cluster has them: in_place, missing, changed, unreadable (the controller may not read them). "+
			"All but the first leave RBAC alone to bound tenants. Each replica tells all.", "state")
	definitions = telemetry.Gauge(telemetry.Controller, "definitions",
		"CustomResourceDefinitions of this version by how the cluster has them: in_place, missing, changed (those of another version, as a rule), unreadable. "+
			"Each replica tells all.", "state")
)

// subject is what a Checker looks at, and how it tells.
type subject struct {
	// manifests hold the objects as they should be; names are theirs.
	manifests fs.FS
	gauge     *prometheus.GaugeVec
	// key of what is found in the log's lines.
	key, wrong, right, unseen string
	event, note               string
}

var (
	admissionPolicies = subject{
		manifests: config.Policies, gauge: policies, key: "policies",
		wrong:  "Admission policies are missing, changed or unreadable: where they are not in force, RBAC alone bounds what accounts write. Install them again",
		right:  "The admission policies are in place again",
		unseen: "The admission policies could not be looked at",
		event:  "AdmissionPoliciesMissing",
		note:   "Where these are not in force, RBAC alone bounds what accounts write. Install them again: ",
	}
	customDefinitions = subject{
		manifests: config.Definitions, gauge: definitions, key: "definitions",
		wrong: "CustomResourceDefinitions are missing, changed or unreadable: the API server drops fields that this version writes, and takes values that it refuses. " +
			"Install those of this version",
		right:  "The CustomResourceDefinitions are those of this version again",
		unseen: "The CustomResourceDefinitions could not be looked at",
		event:  "DefinitionsDiffer",
		note:   "Where these are of another version, fields are dropped in silence. Install those of this version: ",
	}
)

// NewPolicies returns a Checker of the admission policies and bindings. The fields of the Checker are to be set before it starts.
func NewPolicies() *Checker { return &Checker{of: admissionPolicies} }

// NewDefinitions returns a Checker of the CustomResourceDefinitions. The fields of the Checker are to be set before it starts.
func NewDefinitions() *Checker { return &Checker{of: customDefinitions} }

// Finding is a policy, a binding or a definition that is not in place.
type Finding struct {
	Kind, Name, State string
	// Fields are those that are changed.
	Fields []string
}

func (f Finding) String() string {
	text := fmt.Sprintf("%s %s is %s", f.Kind, f.Name, f.State)
	if len(f.Fields) > 0 {
		text += " (" + strings.Join(f.Fields, ", ") + ")"
	}
	return text
}

// Checker looks at the policies, or at the definitions, once a minute.
type Checker struct {
	of subject
	// Client reads without informers, also while the process does not lead.
	Client client.Client
	// Namespace of the operator where the controller's own name does not tell it.
	Namespace string
	Recorder  events.EventRecorder
	// Leads says whether the process leads: it alone makes Events.
	Leads func() bool
	Log   logr.Logger
	// Every is the time between two looks; 0 for a minute.
	Every time.Duration
	// Grace is how long something may be missing or changed before anything but the metric tells; 0 for two minutes, less for none.
	Grace time.Duration

	account  *metav1.PartialObjectMetadata
	onChange []func()
	// since is when the first of the looks in a row was that found something; zero where the last one found nothing.
	since time.Time
	// pending says that the last look found what is yet to be told.
	pending       bool
	logged, noted telling

	mutex    sync.Mutex // of what follows
	known    bool
	all      int
	findings []Finding
}

// telling remembers what was told, and when.
type telling struct {
	text string
	at   time.Time
}

// due says whether a text is to be told, and remembers it then.
func (t *telling) due(text string, now time.Time) bool {
	if t.text == text && (text == "" || now.Sub(t.at) < reminder) {
		return false
	}
	*t = telling{text, now}
	return true
}

// OnChange has f called, in the checker's own goroutine, when Result changes. It must be called before Start.
func (c *Checker) OnChange(f func()) { c.onChange = append(c.onChange, f) }

// Result returns what has not been in place for the time of grace, and of how many objects that is; known is false before
// that can be told.
func (c *Checker) Result() (findings []Finding, all int, known bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.findings, c.all, c.known
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: a standby looks, too.
func (c *Checker) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable. It runs until ctx ends, and returns nil.
func (c *Checker) Start(ctx context.Context) error {
	pause := cmp.Or(c.Every, every)
	for {
		wait := pause
		if err := c.look(ctx); err != nil && ctx.Err() == nil {
			c.Log.V(1).Info(c.of.unseen, "error", err.Error())
			wait = min(pause, soon)
		}
		if c.pending {
			wait = min(pause, soon)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// look compares all objects, and tells. It fails where the API server does not answer; the last result stands then.
func (c *Checker) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	self, err := c.self(ctx)
	if err != nil {
		return err
	}
	objects, err := expected(c.of.manifests, self)
	if err != nil {
		return err
	}
	var findings []Finding
	for _, want := range objects {
		finding, err := c.compare(ctx, want)
		if err != nil {
			return err
		}
		if finding.State != InPlace {
			findings = append(findings, finding)
		}
	}
	c.account = &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: self.namespace, Name: self.name(account)}}
	c.account.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	c.take(findings, len(objects), time.Now())
	return nil
}

// self finds out how this installation names its objects.
func (c *Checker) self(ctx context.Context) (installation, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Client.Create(ctx, review); err != nil && !apierrors.IsForbidden(err) {
		return installation{}, fmt.Errorf("ask for the controller's own name: %w", err)
	}
	return installationOf(review.Status.UserInfo.Username, c.Namespace), nil
}

func (c *Checker) compare(ctx context.Context, want client.Object) (Finding, error) {
	found := Finding{Kind: want.GetObjectKind().GroupVersionKind().Kind, Name: want.GetName(), State: InPlace}
	have := emptyLike(want)
	switch err := c.Client.Get(ctx, client.ObjectKeyFromObject(want), have); {
	case apierrors.IsNotFound(err):
		found.State = Missing
	case apierrors.IsForbidden(err):
		found.State = Unreadable
	case err != nil:
		return found, fmt.Errorf("read %s %s: %w", found.Kind, found.Name, err)
	default:
		fields, err := differences(want, have)
		if err != nil {
			return found, err
		}
		if len(fields) > 0 {
			found.State, found.Fields = Changed, fields
		}
	}
	return found, nil
}

// take counts a result in the metric. What stands for longer than the time of grace, and that nothing is found any more, is remembered
// and told: in the log, by an Event, and to those that asked.
func (c *Checker) take(findings []Finding, all int, now time.Time) {
	texts := make([]string, len(findings))
	counts := map[string]int{InPlace: all - len(findings)}
	for i, finding := range findings {
		texts[i] = finding.String()
		counts[finding.State]++
	}
	for _, state := range states {
		c.of.gauge.WithLabelValues(state).Set(float64(counts[state]))
	}
	if len(findings) == 0 {
		c.since = time.Time{}
	} else if c.since.IsZero() {
		c.since = now
	}
	if c.pending = len(findings) > 0 && now.Sub(c.since) < cmp.Or(c.Grace, grace); c.pending {
		return
	}
	c.mutex.Lock()
	changed := !c.known || !slices.EqualFunc(c.findings, findings, func(a, b Finding) bool { return a.String() == b.String() })
	c.known, c.all, c.findings = true, all, findings
	c.mutex.Unlock()
	c.tell(strings.Join(texts, "; "), now)
	if changed {
		for _, f := range c.onChange {
			f()
		}
	}
}

// tell writes what is wrong into the log, and into an Event of the controller's ServiceAccount, by which policies know the operator.
func (c *Checker) tell(text string, now time.Time) {
	before := c.logged.text
	if c.logged.due(text, now) {
		if text != "" {
			c.Log.Error(nil, c.of.wrong, c.of.key, text)
		} else if before != "" {
			c.Log.Info(c.of.right)
		}
	}
	if c.Leads() && c.noted.due(text, now) && text != "" {
		c.Recorder.Eventf(c.account, nil, corev1.EventTypeWarning, c.of.event, "Check", "%s", clip.Text(c.of.note+text, clip.EventNote))
	}
}
