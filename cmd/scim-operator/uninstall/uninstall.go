// Package uninstall takes the operator out of a cluster in an order that leaves no access behind: it stops the
// operator's Pods, empties and deletes the bindings, then deletes the objects, their kinds, and what config/ or the chart
// installed. Every step reads what is there and can be repeated: after an interruption, the next run goes on.
//
// It stands beside the controllers, is called by cmd/scim-operator only, and needs no running operator.
package uninstall

import (
	"context"
	"fmt"
	"io"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/internal/scheme"
)

const (
	// partOf labels everything that config/ and the chart install.
	partOf      = "app.kubernetes.io/part-of"
	partOfValue = "scim-operator"

	// pageSize bounds one list of objects, workers the requests under way.
	pageSize = 500
	workers  = 16
	// pollInterval is the pause between two looks at what is being deleted.
	pollInterval = 250 * time.Millisecond
)

// Uninstaller removes the operator from one cluster.
type Uninstaller struct {
	client client.Client
	out    io.Writer
	// patience bounds each wait: for Pods to end, for objects to be gone.
	patience time.Duration
	// remains tells what could not be removed, and why.
	remains []string
}

// New returns an Uninstaller that acts with the rights of config and reports to out. patience bounds each wait. It fails
// where config makes no client.
func New(config *rest.Config, out io.Writer, patience time.Duration) (*Uninstaller, error) {
	kinds, err := scheme.New(apiextensionsv1.AddToScheme, admissionv1.AddToScheme)
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: kinds})
	if err != nil {
		return nil, err
	}
	return &Uninstaller{client: c, out: out, patience: patience}, nil
}

// step is one part of the removal. do returns what it did, in words for the administrator.
type step struct {
	name string
	do   func(ctx context.Context) (string, error)
}

func (u *Uninstaller) steps() []step {
	return []step{
		{"stop the operator", u.stop},
		{"revoke access: empty and delete bindings", u.revoke},
		{"look for access by other bindings", u.reportResidual},
		{"delete objects", u.deleteObjects},
		{"delete the kinds", u.deleteDefinitions},
		{"delete policies, RBAC, Deployments", u.deleteInstallation},
	}
}

// Run removes everything, step by step. It stops at the first step that fails: no later one may run before access is
// gone. An error that lists what remains means that the rest is done. Running again is safe after any end.
func (u *Uninstaller) Run(ctx context.Context) error {
	u.remains = nil
	steps := u.steps()
	for i, step := range steps {
		u.say("[%d/%d] %s", i+1, len(steps), step.name)
		done, err := step.do(ctx)
		if err != nil {
			return fmt.Errorf("step %d, %s: %w\nRun the same command again: it goes on from here", i+1, step.name, err)
		}
		u.say("      %s", done)
	}
	if len(u.remains) == 0 {
		u.say("Nothing remains.")
		return nil
	}
	return remainsError(u.remains)
}

// remainsError tells what is left after everything else was done.
type remainsError []string

func (r remainsError) Error() string {
	text := fmt.Sprintf("%d objects remain:", len(r))
	const shown = 50
	for i, line := range r {
		if i == shown {
			return text + fmt.Sprintf("\n  and %d more", len(r)-shown)
		}
		text += "\n  " + line
	}
	return text + "\nRemove what holds them, and run the same command again"
}

func (u *Uninstaller) say(format string, arguments ...any) {
	_, _ = fmt.Fprintf(u.out, format+"\n", arguments...)
}

// remain notes what this run leaves behind.
func (u *Uninstaller) remain(format string, arguments ...any) {
	u.remains = append(u.remains, fmt.Sprintf(format, arguments...))
}

// until polls until check says that it is done, for as long as patience lasts. It returns whether it was done.
func (u *Uninstaller) until(ctx context.Context, check func(ctx context.Context) (bool, error)) (bool, error) {
	// check gets ctx itself: what it has begun when patience ends is not cut off.
	var failed error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, u.patience, true, func(context.Context) (done bool, _ error) {
		done, failed = check(ctx)
		return done, failed
	})
	if failed == nil && ctx.Err() == nil {
		return err == nil, nil // an error is the end of patience
	}
	return err == nil, err
}
