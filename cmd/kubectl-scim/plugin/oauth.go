package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/grantstate"
)

// oauthCommands are the commands about connections of OAuth clients.
type oauthCommands struct{ *session }

func newOAuth(s *session) *cobra.Command {
	command := &cobra.Command{
		Use:   "oauth",
		Short: "Approve, deny and list connections of OAuth clients",
		Long: `Approve, deny and list connections of OAuth clients.

A client of an App with spec.oauth, such as Okta's mode OAuth2, shows a code to
the person who connects it. To approve the code takes the rights to list and
patch oauthgrants, and to bind what the App grants. To deny takes the first two.`,
	}
	o := oauthCommands{s}
	command.AddCommand(newOAuthList(o), newOAuthDecision(o, v1alpha1.DecisionApproved, &cobra.Command{
		Use:   "approve CODE",
		Short: "Let the client that shows this code open its App",
		Long: `Let the client that shows this code open its App.

Compare the code with that on the page of the person who connects the client,
and approve none that is not expected.`,
		Example: "  kubectl scim oauth approve BCDF-GHJK -n directory",
	}), newOAuthDecision(o, v1alpha1.DecisionDenied, &cobra.Command{
		Use:     "deny CODE",
		Short:   "Refuse the client that shows this code, or end its connection",
		Example: "  kubectl scim oauth deny BCDF-GHJK -n directory",
	}))
	return command
}

func newOAuthList(o oauthCommands) *cobra.Command {
	out := &output{}
	command := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List requests that wait for a decision, and connections",
		Args:    cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ []string) error {
			grants, err := o.grants(ctx)
			if err != nil {
				return err
			}
			if out.isTable() {
				return o.printGrants(out, grants)
			}
			objects := make([]client.Object, len(grants))
			for i := range grants {
				objects[i] = &grants[i]
			}
			return o.printObjects(out, objects)
		}),
	}
	o.addAllNamespaces(command)
	out.addTo(command, formatJSON, formatYAML, formatWide, formatName)
	return command
}

func (o oauthCommands) grants(ctx context.Context) (grants []v1alpha1.OAuthGrant, err error) {
	list := &v1alpha1.OAuthGrantList{}
	return grants, o.each(ctx, list, func() error {
		for i := range list.Items {
			grants = append(grants, *list.Items[i].DeepCopy())
		}
		return nil
	}, o.within())
}

func (o oauthCommands) printGrants(out *output, grants []v1alpha1.OAuthGrant) error {
	names := []string{"CODE", "APP", "STATE", "BACK TO", "FROM", "BY", "UNTIL", "+REDIRECT", "AGE"}
	if o.all {
		names = append([]string{"NAMESPACE"}, names...)
	}
	table := columns(names...)
	for i := range grants {
		grant := &grants[i]
		cells := []any{
			grant.Spec.UserCode, grant.Spec.App, stateOfGrant(grant, time.Now()), grant.RedirectHost(), grant.Spec.RequestedFrom,
			approverOf(grant), untilOf(grant), grant.Spec.RedirectURI, age(grant),
		}
		if o.all {
			cells = append([]any{grant.Namespace}, cells...)
		}
		addRow(table, cells...)
	}
	if len(table.Rows) == 0 {
		o.noneFound("requests or connections of OAuth clients")
		return nil
	}
	return o.printTable(out, table)
}

// approverOf says what lets the client in: a user, or the App by a key of the machine client.
func approverOf(grant *v1alpha1.OAuthGrant) string {
	if grant.Spec.Key != "" {
		return "the App, by a key of " + grant.Spec.ClientID
	}
	return grant.Spec.DecidedBy
}

// stateOfGrant says in a word what a grant is: by the clock, and by what the controller says of whether its App holds it.
func stateOfGrant(grant *v1alpha1.OAuthGrant, now time.Time) string {
	active := meta.FindStatusCondition(grant.Status.Conditions, v1alpha1.ConditionActive)
	return grantstate.Of(grant, active == nil || active.Reason != v1alpha1.ReasonNotHeld, now).Reason
}

// untilOf is until when a request can be approved, a connection's refresh token be used, or a machine client's newest access token; empty
// where it was denied or has ended.
func untilOf(grant *v1alpha1.OAuthGrant) string {
	if grant.Status.Ended != nil || grant.Spec.Decision == v1alpha1.DecisionDenied {
		return ""
	}
	if access := grant.Status.Access; access != nil {
		return until(&access.ExpiresAt)
	}
	if refresh := grant.Status.Refresh; refresh != nil {
		return until(&refresh.ExpiresAt)
	}
	return until(&grant.Spec.ExpiresAt)
}

func newOAuthDecision(o oauthCommands, decision string, command *cobra.Command) *cobra.Command {
	command.Args = cobra.ExactArgs(1)
	command.ValidArgsFunction = o.completeCodes(decision)
	command.RunE = o.run(func(ctx context.Context, args []string) error {
		grant, err := o.grant(ctx, args[0])
		if err != nil {
			return err
		}
		return o.decide(ctx, grant, decision)
	})
	o.addAllNamespaces(command)
	return command
}

// grant finds a grant by its code, in any letter case and with or without the dash, or by its name.
func (o oauthCommands) grant(ctx context.Context, name string) (*v1alpha1.OAuthGrant, error) {
	grants, err := o.grants(ctx)
	if err != nil {
		return nil, err
	}
	plain := func(code string) string { return strings.ToUpper(strings.ReplaceAll(code, "-", "")) }
	grants = slices.DeleteFunc(grants, func(grant v1alpha1.OAuthGrant) bool {
		return plain(grant.Spec.UserCode) != plain(name) && grant.Name != bare(name)
	})
	switch len(grants) {
	case 0:
		where := "in namespace " + o.namespace
		if o.all {
			where = "in any namespace"
		}
		return nil, fmt.Errorf("no request has the code %q %s: kubectl scim oauth list shows those that there are", name, where)
	case 1:
		return &grants[0], nil
	}
	return nil, fmt.Errorf("%d requests have the code %q: name one by its object, with -n", len(grants), name)
}

// decide writes a decision in the name of the user that the API server takes this one for.
func (o oauthCommands) decide(ctx context.Context, grant *v1alpha1.OAuthGrant, decision string) error {
	state := stateOfGrant(grant, time.Now())
	switch {
	case grant.Spec.Key != "":
		return fmt.Errorf("%s is the machine client %s, which the App %s lets in by its key: take the key out of spec.oauth.machineClients of the App to end it",
			grant.Spec.UserCode, grant.Spec.ClientID, grant.Spec.App)
	case decision == v1alpha1.DecisionApproved && state != v1alpha1.ReasonPending:
		return fmt.Errorf("the request %s waits for no approval: it is %s", grant.Spec.UserCode, state)
	case decision == v1alpha1.DecisionDenied && grant.Spec.Decision == v1alpha1.DecisionDenied:
		return fmt.Errorf("the request %s was denied before, by %s", grant.Spec.UserCode, grant.Spec.DecidedBy)
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := o.client.Create(ctx, review); err != nil {
		return fmt.Errorf("ask the API server for the own user name: %w", err)
	}
	if err := o.patchSpec(ctx, grant, map[string]any{"decision": decision, "decidedBy": review.Status.UserInfo.Username}); err != nil {
		return err
	}
	o.say("%s of App %s, sent back to %s: %s by %s", grant.Spec.UserCode, grant.Spec.App, grant.RedirectHost(), strings.ToLower(decision), review.Status.UserInfo.Username)
	if decision == v1alpha1.DecisionApproved {
		o.note("The page in the browser goes back by itself. kubectl scim oauth deny %s ends the connection.", grant.Spec.UserCode)
	}
	return nil
}

// completeCodes offers the codes that can be decided.
func (o oauthCommands) completeCodes(decision string) completion {
	return o.complete(1, func(command *cobra.Command, _ string) (codes []string) {
		list := &v1alpha1.OAuthGrantList{}
		if o.client.List(command.Context(), list, o.within(), client.Limit(completionLimit)) == nil {
			for i := range list.Items {
				if grant := &list.Items[i]; grant.Spec.Key == "" && (grant.Spec.Decision == "" || decision == v1alpha1.DecisionDenied) {
					codes = append(codes, grant.Spec.UserCode)
				}
			}
		}
		return codes
	})
}
