package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// suspension is what suspend and resume have in common.
type suspension struct {
	session *session
	suspend bool
	dryRun  string
	wait    time.Duration
	output  output
}

const (
	dryRunNone   = "none"
	dryRunServer = "server"
)

func newSuspend(s *session) *cobra.Command {
	return (&suspension{session: s, suspend: true}).command(&cobra.Command{
		Use:   "suspend USER...",
		Short: "Take every role away from users, whatever the client says",
		Long: `Take every role away from users, whatever the client says.

It sets spec.suspended, which no SCIM request changes, and waits until the
controller says that the access is gone. Exit status 1: it did not in time.`,
		Example: "  kubectl scim suspend jane@example.com",
	})
}

func newResume(s *session) *cobra.Command {
	return (&suspension{session: s}).command(&cobra.Command{
		Use:   "resume USER...",
		Short: "End the suspension of users",
		Long: `End the suspension of users.

It clears spec.suspended, and waits until the controller has evaluated the user
anew. A user that the client deactivated stays without access.`,
		Example: "  kubectl scim resume jane@example.com",
	})
}

func (c *suspension) command(command *cobra.Command) *cobra.Command {
	s := c.session
	command.Args = cobra.MinimumNArgs(1)
	command.ValidArgsFunction = s.completeUsers(0)
	command.RunE = s.run(func(ctx context.Context, args []string) error {
		if c.dryRun != dryRunNone && c.dryRun != dryRunServer {
			return fmt.Errorf("--dry-run=%s: want none or server", c.dryRun)
		}
		var users []*v1alpha1.User
		for _, name := range args { // all are found before any is changed
			user, err := s.user(ctx, name)
			if err != nil {
				return err
			}
			users = append(users, user)
		}
		return c.all(ctx, users)
	})
	flags := command.Flags()
	flags.StringVar(&c.dryRun, "dry-run", dryRunNone, "none, or server: send the change without keeping it")
	flags.DurationVar(&c.wait, "wait", 30*time.Second, "how long to wait for the controller; 0 for not at all")
	s.addAllNamespaces(command)
	c.output.addTo(command, formatName)
	return command
}

// all changes each user, also after one that failed, and returns what failed.
func (c *suspension) all(ctx context.Context, users []*v1alpha1.User) error {
	var failed []error
	for _, user := range users {
		if err := c.one(ctx, user); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (c *suspension) one(ctx context.Context, user *v1alpha1.User) error {
	s := c.session
	var options []client.PatchOption
	suffix := ""
	if c.dryRun == dryRunServer {
		options, suffix = append(options, client.DryRunAll), " (server dry run)"
	}
	if err := s.patchSpec(ctx, user, map[string]any{"suspended": c.suspend}, options...); err != nil {
		return err
	}
	if c.output.format == formatName {
		s.say("user.%s/%s", v1alpha1.GroupName, user.Name)
	}
	if c.dryRun == dryRunServer || c.wait <= 0 {
		return c.tell(user, c.done()+suffix)
	}
	return c.await(ctx, user)
}

func (c *suspension) done() string {
	if c.suspend {
		return "suspended"
	}
	return "resumed"
}

func (c *suspension) tell(user *v1alpha1.User, text string) error {
	if c.output.format == "" {
		c.session.say("%s (%s) %s", user.Spec.UserName, user.Name, text)
	}
	return nil
}

// await says what the controller made of the change, or that it has not said anything in time.
func (c *suspension) await(ctx context.Context, user *v1alpha1.User) error {
	generation := user.Generation
	settled := func() bool {
		if user.Status.ObservedGeneration < generation {
			return false
		}
		revoked := conditionOf(user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
		return user.MayHaveAccess() || v1alpha1.IsRevocationSettled(&revoked)
	}
	inTime, err := c.session.await(ctx, user, c.wait, settled)
	switch {
	case err != nil:
		return err
	case !inTime:
		_ = c.tell(user, fmt.Sprintf("%s, and after %s the controller has not said what followed", c.done(), c.wait))
		return errNo
	}
	return c.report(user)
}

func (c *suspension) report(user *v1alpha1.User) error {
	revoked := conditionOf(user.Status.Conditions, v1alpha1.ConditionAccessRevoked)
	ready := conditionOf(user.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case user.MayHaveAccess():
		return c.tell(user, c.done()+": "+cmp.Or(user.Status.RoleNames, "no role")+". "+ready.Message)
	case revoked.Status != "True":
		_ = c.tell(user, c.done()+", and access outlasts it: "+revoked.Message)
		return errNo
	}
	text := c.done() + ": " + revoked.Message
	if user.Status.ResidualAccessCount > 0 {
		text += fmt.Sprintf(" %d bindings by other hands still name the user: kubectl scim explain %s", user.Status.ResidualAccessCount, user.Name)
	}
	return c.tell(user, text)
}
