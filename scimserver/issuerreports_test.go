package scimserver

import (
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/scimserver/issuers"
)

// reporting is a server under test, and the App that it reports on as etcd has it.
type reporting struct {
	*issuerReports
	app *v1alpha1.App
	at  time.Time
}

func newReporting(app *v1alpha1.App, server string, at time.Time) *reporting {
	r := &reporting{issuerReports: newIssuerReports(nil, nil, nil, logr.Discard()), app: app, at: at}
	r.now, r.server = func() time.Time { return r.at }, server
	return r
}

// see has the server see an outcome, and write it where it is due.
func (r *reporting) see(err error) (written bool) {
	report := &issuerReport{}
	if r.app.Status.OIDC != nil {
		report.status = *r.app.Status.OIDC
	}
	if !r.dueOutcome(r.app, report, issuers.Outcome{Err: err, Keys: 1, At: r.at}) {
		return false
	}
	r.app.Status.OIDC = &report.status
	r.wrote(client.ObjectKeyFromObject(r.app), report)
	return true
}

// Of several servers each tells when what it meets becomes another thing, and one of them now and then. A server that can read the keys
// all the time does not hide that another one cannot.
func TestIssuerReportsOfSeveralServers(t *testing.T) {
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: "directory", Name: "app", Generation: 1}}
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	one, two := newReporting(app, "one", at), newReporting(app, "two", at)
	cut := errors.New("its name is not found")
	expect := func(step string, written, want bool, reachable bool) {
		t.Helper()
		if written != want || app.Status.OIDC.Reachable != reachable {
			t.Errorf("%s: written %v, reachable %v: %s", step, written, app.Status.OIDC.Reachable, app.Status.OIDC.Message)
		}
	}
	expect("the first look", one.see(nil), true, true)
	expect("the second server", two.see(nil), false, true)
	expect("again", one.see(nil), false, true)
	expect("the second server is cut off", two.see(cut), true, false)
	expect("again", two.see(cut), false, false)
	expect("the first server goes on", one.see(nil), false, false)
	expect("the first server is cut off, too", one.see(cut), true, false)
	expect("the second server, again", two.see(cut), false, false)
	expect("the first server is back", one.see(nil), true, true)
	three := newReporting(app, "three", at)
	expect("a new server cannot", three.see(cut), true, false)
	expect("another new server can", newReporting(app, "four", at).see(nil), false, false)
	expect("the new server can", three.see(nil), true, true)
	one.at = at.Add(usesApart)
	expect("later", one.see(nil), true, true)
	app.Generation++
	expect("another generation", one.see(nil), true, true)
	if app.Status.OIDC.ObservedGeneration != 2 || !app.Status.OIDC.CheckedTime.Time.Equal(one.at) {
		t.Errorf("the status is %+v", app.Status.OIDC)
	}
}

// What could not be written stays due: a transition, and a use.
func TestIssuerReportsAreTriedAgain(t *testing.T) {
	name := types.NamespacedName{Namespace: "directory", Name: "app"}
	app := &v1alpha1.App{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Generation: 1}}
	r := newReporting(app, "one", time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	r.see(nil)
	outcome := issuers.Outcome{Err: errors.New("away"), At: r.at}
	for try := range 3 {
		report := &issuerReport{status: *app.Status.OIDC}
		if !r.dueOutcome(app, report, outcome) {
			t.Errorf("try %d: not due", try)
		}
	}
	r.note(credential{app: name, foreign: &foreignClient{subject: "client"}})
	r.note(credential{app: name})
	for try := range 3 {
		report := &issuerReport{}
		if !r.dueUse(name, report) || report.status.LastSubject != "client" {
			t.Errorf("try %d: %+v", try, report.status)
		}
		if try == 2 {
			r.wrote(name, report)
		}
	}
	if r.dueUse(name, &issuerReport{}) {
		t.Error("what was written is due")
	}
	r.note(credential{app: name, foreign: &foreignClient{subject: "client"}})
	fresh := &issuerReport{status: v1alpha1.ForeignIssuerStatus{LastUsedTime: &metav1.Time{Time: r.at.Add(-time.Minute)}}}
	if r.dueUse(name, fresh) {
		t.Error("a use right after another one is due")
	}
}
