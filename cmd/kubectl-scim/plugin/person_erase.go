package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// erasure is one run of person erase.
type erasure struct {
	*personCommands
	yes, active, endDenial bool
	wait                   time.Duration
}

// errNotConfirmed ends an erasure that was not confirmed.
var errNotConfirmed = errors.New("not confirmed: nothing is changed")

func newPersonErase(p *personCommands) *cobra.Command {
	e := &erasure{personCommands: p}
	command := &cobra.Command{
		Use:   "erase NAME...",
		Short: "Delete the Users of a person, and see that nothing names the person any more",
		Long: `Delete the Users of a person, and see that nothing names the person any more.

First it shows the Users that it would delete, and every object that names the
person, with what becomes of each. Then it asks for the userName, unless told
--yes. It deletes the Users, waits until the controller has taken the access
away and the person out of groups and claims, deletes the Events about them, and
looks at everything again. Exit status 1: something is left, which it names.

An active User is left alone: unassign the person in the identity provider
first, which would send the person again. --active deletes it all the same.`,
		Example:           "  kubectl scim person erase jane@example.com",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: p.completeUsers(0),
		RunE:              p.run(e.run),
	}
	flags := command.Flags()
	flags.BoolVar(&e.yes, "yes", false, "do not ask")
	flags.BoolVar(&e.active, "active", false, "also delete Users that are active")
	flags.BoolVar(&e.endDenial, "end-denial", false, "take the person off the RevocationLists at once: tokens that are still valid are not denied any more")
	flags.DurationVar(&e.wait, "wait", time.Minute, "how long to wait for the controller")
	p.addAllNamespaces(command)
	return command
}

func (e *erasure) run(ctx context.Context, args []string) error {
	d, err := e.gather(ctx, args)
	if err != nil {
		return err
	}
	if err := e.refuse(d); err != nil {
		return err
	}
	e.plan(d)
	if !e.yes && !e.confirmed(d) {
		return errNotConfirmed
	}
	if err := e.deleteUsers(ctx, d); err != nil {
		return err
	}
	if err := e.awaitGone(ctx, d); err != nil {
		return err
	}
	if err := e.deleteEvents(ctx, d); err != nil {
		return err
	}
	if e.endDenial {
		if err := e.takeOffLists(ctx, d); err != nil {
			return err
		}
	}
	return e.conclude(ctx, d)
}

// refuse fails where there is nothing to delete, or a User that is still in use.
func (e *erasure) refuse(d *dossier) error {
	if len(d.typed) == 0 {
		where := "in namespace " + e.namespace + "; -A looks in all"
		if e.all {
			where = "in any namespace"
		}
		return fmt.Errorf("no User has the name %s %s. kubectl scim person export shows what names it all the same", joined(d.Names), where)
	}
	for i := range d.typed {
		if user := &d.typed[i]; user.Spec.Active && !e.active {
			return fmt.Errorf("the User %s/%s (%s) is active: its client would send it again. Unassign the person in the identity provider first, or add --active",
				user.Namespace, user.Name, user.Spec.UserName)
		}
	}
	return nil
}

// plan shows what is deleted, what follows by itself, and what stays.
func (e *erasure) plan(d *dossier) {
	e.say("Deleted:")
	for i := range d.typed {
		user := &d.typed[i]
		e.say("  User %s/%s of App %s: %s, %s", user.Namespace, user.Name, user.Spec.App, user.Spec.UserName, strings.ToLower(stateOf(user)))
	}
	if len(d.Events) > 0 {
		e.say("  %s about them", counted(len(d.Events), "Event"))
	}
	for _, part := range []struct {
		head string
		of   func(m *mention) bool
	}{
		{"Follows from it, by the controller:", func(m *mention) bool { return m.follows }},
		{"Stays:", func(m *mention) bool { return !m.follows && m.isTold() }},
	} {
		chosen := slices.DeleteFunc(slices.Clone(d.Mentions), func(m mention) bool { return !part.of(&m) })
		if len(chosen) > 0 {
			e.say("%s", part.head)
		}
		for i := range chosen {
			e.say("  %s: %s", chosen[i].String(), e.fate(&chosen[i]))
		}
	}
}

// isTold says whether an object that stays is told by itself: what was written for another User goes with that one.
func (m *mention) isTold() bool { return !m.ofOther || m.Kind == "User" }

// fate says what becomes of an object that names the person.
func (e *erasure) fate(m *mention) string {
	if m.ofOther && m.Kind == "User" {
		return "another User with a name of the person: name its namespace, or add -A, to erase it as well"
	}
	switch m.Kind {
	case "NameClaim":
		return "released"
	case "Group", "MemberShard":
		return "the person is taken out"
	case "AppRoleBinding":
		return "the person is taken out, with the access"
	case "RevocationList":
		if e.endDenial {
			return "the person is taken off"
		}
		return "ends by itself, 24 hours after the access ended; --end-denial ends it at once"
	case "Event":
		return "ends by itself, an hour after it was written"
	case "User":
		return "names the person in " + m.fields() + ": the identity provider writes it"
	}
	if m.follows {
		return "the person is taken out, with the access"
	}
	return "names the person in " + m.fields() + ": change it where it is written"
}

// fields lists the fields that name the person, three at most.
func (m *mention) fields() string {
	list := make([]string, 0, len(m.Places))
	for _, at := range m.Places {
		list = append(list, at.Field)
	}
	if more := len(list) - 3; more > 0 {
		list = append(list[:3], fmt.Sprintf("%d more", more))
	}
	return joined(list)
}

// confirmed asks for the userName of the first User: a single key is typed too soon.
func (e *erasure) confirmed(d *dossier) bool {
	want := d.typed[0].Spec.UserName
	_, _ = fmt.Fprintf(e.Out, "Type %s to go on: ", escape(want))
	answer, _ := bufio.NewReader(e.In).ReadString('\n')
	return strings.TrimSpace(answer) == want
}

// deleteUsers deletes each User that was shown, and no other one that has its name by now. Errors are the API server's.
func (e *erasure) deleteUsers(ctx context.Context, d *dossier) error {
	for i := range d.typed {
		user := d.typed[i].DeepCopy()
		if err := e.client.Delete(ctx, user, client.Preconditions{UID: &user.UID}); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// awaitGone waits until the Users are gone and what the operator wrote names them no more. What is left after the wait is for conclude
// to tell.
func (e *erasure) awaitGone(ctx context.Context, d *dossier) error {
	left := slices.DeleteFunc(slices.Clone(d.Mentions), func(m mention) bool { return !m.follows })
	// With the deadline of the wait, a request that comes shortly before it would fail instead of being the last one.
	err := wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, e.wait, true, func(context.Context) (bool, error) {
		for i := range d.typed {
			gone, err := e.isGone(ctx, &d.typed[i])
			if err != nil || !gone {
				return false, err
			}
		}
		for len(left) > 0 {
			still, err := e.stillNames(ctx, d, &left[0])
			if err != nil || still != nil {
				return false, err
			}
			left = left[1:]
		}
		return true, nil
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case wait.Interrupted(err):
		e.note("The controller has not finished after %s.", e.wait)
		return nil
	}
	return err
}

func (e *erasure) isGone(ctx context.Context, user *v1alpha1.User) (bool, error) {
	now := &v1alpha1.User{}
	err := e.client.Get(ctx, client.ObjectKeyFromObject(user), now)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return err == nil && now.UID != user.UID, err
}

// deleteEvents deletes the Events about the Users, those of their end included. Without the right to they end by themselves.
func (e *erasure) deleteEvents(ctx context.Context, d *dossier) error {
	for i := range d.typed {
		user := &d.typed[i]
		list := &corev1.EventList{}
		err := e.each(ctx, list, func() error {
			for i := range list.Items {
				if err := e.client.Delete(ctx, &list.Items[i]); client.IgnoreNotFound(err) != nil {
					return err
				}
			}
			return nil
		}, client.InNamespace(user.Namespace), client.MatchingFields{"involvedObject.uid": string(user.UID)})
		if right := missingRight(err); right != "" {
			e.note("The Events about User %s/%s end by themselves, within an hour: you lack the right to %s", user.Namespace, user.Name, right)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeOffLists takes the person off the RevocationLists. The controller puts back what a User supports, and no other entry. Errors are the
// API server's: it asks for the verb escalate.
func (e *erasure) takeOffLists(ctx context.Context, d *dossier) error {
	lists := &v1alpha1.RevocationListList{}
	if err := e.client.List(ctx, lists, client.InNamespace(e.operatorNamespace)); err != nil {
		return err
	}
	for i := range lists.Items {
		list := &lists.Items[i]
		err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			if err := e.client.Get(ctx, client.ObjectKeyFromObject(list), list); err != nil {
				return client.IgnoreNotFound(err)
			}
			users := list.Spec.Users()
			before := len(users)
			maps.DeleteFunc(users, func(name string, _ time.Time) bool { return d.terms.in(name) })
			if len(users) == before {
				return nil
			}
			list.Spec.SetUsers(users)
			return e.client.Update(ctx, list)
		})
		if err != nil {
			return fmt.Errorf("the Users are deleted, and the person is still on RevocationList %s: %w", list.Name, err)
		}
	}
	return nil
}

// conclude looks at everything again and tells what is left. It returns errNo where that ends by no clock.
func (e *erasure) conclude(ctx context.Context, before *dossier) error {
	after, err := e.gatherBy(ctx, before)
	if err != nil {
		return err
	}
	result := e.noteGaps(after)
	for i := range after.typed {
		user := &after.typed[i]
		what := "is there again: its client has sent it"
		if slices.ContainsFunc(before.typed, func(was v1alpha1.User) bool { return was.UID == user.UID }) {
			what = "is still there; its finalizers: " + joined(user.Finalizers)
		}
		e.note("User %s/%s %s", user.Namespace, user.Name, what)
		result = errNo
	}
	for i := range after.Mentions {
		m := &after.Mentions[i]
		if !m.isTold() {
			continue
		}
		e.note("Left: %s: %s", m, e.fate(m))
		if m.Kind != "RevocationList" && m.Kind != "Event" {
			result = errNo
		}
	}
	e.say("%s %s", joined(before.Names), e.outcome(before, after))
	return result
}

func (e *erasure) outcome(before, after *dossier) string {
	at := metav1.Now().UTC().Format(time.RFC3339)
	if len(after.typed) > 0 || len(after.Mentions) > 0 {
		return fmt.Sprintf("is not erased as a whole by %s: see above.", at)
	}
	return fmt.Sprintf("is erased: %s deleted, and no object that was looked at names the person at %s.", counted(len(before.typed), "User"), at)
}
