package plugin

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

func newGet(s *session) *cobra.Command {
	command := &cobra.Command{Use: "get", Short: "List users by a SCIM filter"}
	command.AddCommand(newGetUsers(s))
	return command
}

func newGetUsers(s *session) *cobra.Command {
	var filter, app string
	o := &output{}
	command := &cobra.Command{
		Use:     "users",
		Aliases: []string{"user"},
		Short:   "List users by a SCIM filter",
		Long: `List users by a SCIM filter (RFC 7644 section 3.4.2.2).

The server's own code evaluates the filter, here, over the objects: names
compare as SCIM compares them, attributes that the App declares count, and
groups.value and groups.display look at membership. meta.location and
meta.version are the server's and cannot be asked for.

Clients see no user without the claim of its name; this lists it, too.`,
		Example: `  kubectl scim get users --filter 'active eq false'
  kubectl scim get users -A --filter 'userName sw "jane" and groups.display eq "Platform"'
  kubectl scim get users --filter 'role eq "developer"' -o name`,
		Args: cobra.NoArgs,
		RunE: s.run(func(ctx context.Context, _ []string) error {
			matcher, err := newMatcher(s, filter)
			if err != nil {
				return err
			}
			users, err := s.matchingUsers(ctx, matcher, app)
			if err != nil {
				return err
			}
			return s.printUsers(o, users)
		}),
	}
	s.addAllNamespaces(command)
	command.Flags().StringVar(&filter, "filter", "", `SCIM filter, such as 'userName sw "jane"'`)
	command.Flags().StringVar(&app, "app", "", "only users of this App")
	_ = command.RegisterFlagCompletionFunc("app", s.completeApps(0))
	o.addTo(command, formatJSON, formatYAML, formatWide, formatName)
	return command
}

func (s *session) matchingUsers(ctx context.Context, matcher *matcher, app string) (matching []*v1alpha1.User, err error) {
	options := []client.ListOption{s.within()}
	if app != "" {
		options = append(options, client.MatchingFields{"spec.app": bare(app)})
	}
	list := &v1alpha1.UserList{}
	err = s.each(ctx, list, func() error {
		for i := range list.Items {
			matches, err := matcher.matches(ctx, &list.Items[i])
			if err != nil {
				return err
			}
			if matches {
				matching = append(matching, list.Items[i].DeepCopy())
			}
		}
		return nil
	}, options...)
	return matching, err
}

func (s *session) printUsers(o *output, users []*v1alpha1.User) error {
	if !o.isTable() {
		objects := make([]client.Object, len(users))
		for i := range users {
			objects[i] = users[i]
		}
		return s.printObjects(o, objects)
	}
	if len(users) == 0 {
		s.noneFound("users")
		return nil
	}
	names := []string{"NAME", "USERNAME", "DISPLAY NAME", "ACTIVE", "APP", "ROLES", "GRANTED", "REVOKED", "REASON",
		"+EXTERNAL ID", "+KUBERNETES USER", "+SUSPENDED", "+RESIDUAL", "AGE"}
	if s.all {
		names = append([]string{"NAMESPACE"}, names...)
	}
	table := columns(names...)
	for _, user := range users {
		status := func(kind string) string { return string(conditionOf(user.Status.Conditions, kind).Status) }
		cells := []any{user.Name, user.Spec.UserName, user.Spec.DisplayName, user.Spec.Active, user.Spec.App, user.Status.RoleNames,
			status(v1alpha1.ConditionAccessGranted), status(v1alpha1.ConditionAccessRevoked),
			conditionOf(user.Status.Conditions, v1alpha1.ConditionReady).Reason,
			user.Spec.ExternalID, user.Status.KubernetesUsername, user.Spec.Suspended, user.Status.ResidualAccessCount,
			duration.HumanDuration(time.Since(user.CreationTimestamp.Time))}
		if s.all {
			cells = append([]any{user.Namespace}, cells...)
		}
		addRow(table, cells...)
	}
	return s.printTable(o, table)
}

// joined lists names in a sentence.
func joined(names []string) string { return strings.Join(names, ", ") }

// mark is text of the plugin's own, which say prints as it is.
type mark struct{ text string }

func (m mark) String() string { return m.text }
