package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// appSummary is one App in the output of status. The counts of users and tokens are those of the App's own status.
type appSummary struct {
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	Mode        string `json:"mode"`
	BaseURL     string `json:"baseURL,omitempty"`
	Users       int32  `json:"users"`
	ActiveUsers int32  `json:"activeUsers"`
	// Groups is absent where groups may not be listed, Tokens' last use where tokens may not.
	Groups      *int         `json:"groups,omitempty"`
	Tokens      int32        `json:"tokens"`
	LastRequest *metav1.Time `json:"lastRequest,omitempty"`
	Ready       string       `json:"ready"`
	Problems    []string     `json:"problems,omitempty"`

	tokensRead bool
}

func newStatus(s *session) *cobra.Command {
	o := &output{}
	command := &cobra.Command{
		Use:   "status [APP...]",
		Short: "Show Apps: base URL, users, groups, last request, problems",
		Long: `Show Apps: base URL, users, groups, last request, problems.

The last request is when a credential last opened the App, to about a quarter
of an hour: a ScimToken, a token of its issuer or an OAuth client. It needs the
right to list scimtokens. A base URL is shown
where the App sets spec.externalURL; otherwise the server's address makes it.
Among the problems are leavers that still have access.`,
		Example: `  kubectl scim status -A
  kubectl scim status quickstart -o yaml`,
		ValidArgsFunction: s.completeApps(0),
		RunE: s.run(func(ctx context.Context, args []string) error {
			apps, err := s.apps(ctx, args)
			if err != nil {
				return err
			}
			var summaries []*appSummary
			for i := range apps {
				summary, err := s.summarize(ctx, &apps[i])
				if err != nil {
					return err
				}
				summaries = append(summaries, summary)
			}
			return s.printSummaries(o, summaries)
		}),
	}
	s.addAllNamespaces(command)
	o.addTo(command, formatJSON, formatYAML, formatWide, formatName)
	return command
}

// apps returns the named Apps, or all where none is named.
func (s *session) apps(ctx context.Context, names []string) (apps []v1alpha1.App, err error) {
	if len(names) > 0 && s.all {
		return nil, fmt.Errorf("name Apps or say -A, not both")
	}
	for _, name := range names {
		app, err := s.app(ctx, name)
		if err != nil {
			return nil, err
		}
		apps = append(apps, *app)
	}
	if len(names) > 0 {
		return apps, nil
	}
	list := &v1alpha1.AppList{}
	err = s.each(ctx, list, func() error {
		apps = append(apps, list.Items...)
		return nil
	}, s.within())
	return apps, err
}

func (s *session) app(ctx context.Context, name string) (*v1alpha1.App, error) {
	app := &v1alpha1.App{}
	return app, s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: bare(name)}, app)
}

// summarize gathers what one App's objects tell. A right that is missing leaves a part out and is noted; other errors end it.
func (s *session) summarize(ctx context.Context, app *v1alpha1.App) (*appSummary, error) {
	ready := conditionOf(app.Status.Conditions, v1alpha1.ConditionReady)
	summary := &appSummary{
		Namespace: app.Namespace, Name: app.Name, Mode: app.Spec.Mode, BaseURL: app.Spec.ExternalURL,
		Users: app.Status.Users, ActiveUsers: app.Status.ActiveUsers, Tokens: app.Status.Tokens, Ready: string(ready.Status),
	}
	if summary.Ready == "" {
		summary.Ready = string(metav1.ConditionUnknown)
	}
	summary.Problems = appProblems(app, ready)
	if seen := app.Status.OIDC; seen != nil {
		summary.LastRequest = seen.LastUsedTime
	}
	ofApp := []client.ListOption{client.InNamespace(app.Namespace), client.MatchingFields{"spec.app": app.Name}}
	groups, err := s.count(ctx, "Group", ofApp...)
	if err = s.tolerate(err, "groups"); err != nil {
		return nil, err
	}
	if groups >= 0 {
		summary.Groups = &groups
	}
	if err := s.tolerate(s.addTokens(ctx, app, summary, ofApp), "the last request"); err != nil {
		return nil, err
	}
	if app.Spec.OAuth != nil {
		if err := s.tolerate(s.addClients(ctx, app, summary), "the last request of OAuth clients"); err != nil {
			return nil, err
		}
	}
	return summary, s.tolerate(s.addLeavers(ctx, app, summary), "leavers with access")
}

// tolerate notes a missing right and returns nil; other errors it returns.
func (c *console) tolerate(err error, what string) error {
	if err == nil || missingRight(err) == "" {
		return err
	}
	c.note("%s not shown: you lack the right to %s", what, missingRight(err))
	return nil
}

func appProblems(app *v1alpha1.App, ready metav1.Condition) (problems []string) {
	if app.Status.ObservedGeneration != app.Generation {
		problems = append(problems, "the controller has not looked at the last edit yet")
	}
	if ready.Status != metav1.ConditionTrue && ready.Message != "" {
		problems = append(problems, ready.Message)
	}
	for _, condition := range app.Status.Conditions {
		bad := condition.Status == metav1.ConditionFalse
		switch condition.Type {
		case v1alpha1.ConditionRemovalsHeld:
			bad = condition.Status == metav1.ConditionTrue
		case v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionExternalURLSet:
			continue
		}
		if bad && !slices.Contains(problems, condition.Message) {
			problems = append(problems, condition.Message)
		}
	}
	if evaluation := app.Status.Evaluation; evaluation != nil && evaluation.Done < evaluation.Users {
		text := fmt.Sprintf("%d of %d users are evaluated", evaluation.Done, evaluation.Users)
		if evaluation.LastError != "" {
			text += ": " + evaluation.LastError
		}
		problems = append(problems, text)
	}
	return problems
}

// addTokens tells when a token was last used, and which are not accepted or expire soon.
func (s *session) addTokens(ctx context.Context, app *v1alpha1.App, summary *appSummary, ofApp []client.ListOption) error {
	list := &v1alpha1.ScimTokenList{}
	err := s.each(ctx, list, func() error {
		for i := range list.Items {
			token := &list.Items[i]
			if used := token.Status.LastUsedTime; used != nil && (summary.LastRequest == nil || summary.LastRequest.Before(used)) {
				summary.LastRequest = used
			}
			if accepted := conditionOf(token.Status.Conditions, v1alpha1.ConditionAccepted); accepted.Status == metav1.ConditionFalse && app.Spec.Lists(token) {
				summary.Problems = append(summary.Problems, fmt.Sprintf("token %s is not accepted: %s", token.Name, accepted.Message))
			}
			if expiring := conditionOf(token.Status.Conditions, v1alpha1.ConditionExpiring); expiring.Status == metav1.ConditionTrue {
				summary.Problems = append(summary.Problems, fmt.Sprintf("token %s: %s", token.Name, expiring.Message))
			}
		}
		return nil
	}, ofApp...)
	summary.tokensRead = err == nil
	return err
}

// addClients tells when an OAuth client last asked for a token: those that it was issued go when they expire, and their last use with them.
func (s *session) addClients(ctx context.Context, app *v1alpha1.App, summary *appSummary) error {
	list := &v1alpha1.OAuthGrantList{}
	return s.each(ctx, list, func() error {
		for i := range list.Items {
			at := list.Items[i].Status.LastContact()
			if list.Items[i].Spec.App == app.Name && at != nil && (summary.LastRequest == nil || summary.LastRequest.Before(at)) {
				summary.LastRequest = at
			}
		}
		return nil
	}, client.InNamespace(app.Namespace))
}

// addLeavers counts users that may have no access, and still have some as far as their status tells.
func (s *session) addLeavers(ctx context.Context, app *v1alpha1.App, summary *appSummary) error {
	const named = 3
	var names []string
	total := 0
	users := &v1alpha1.UserList{}
	for _, field := range []client.MatchingFields{
		{"spec.app": app.Name, "spec.active": "false"},
		{"spec.app": app.Name, "spec.active": "true", "spec.suspended": "true"},
	} {
		if err := s.each(ctx, users, func() error {
			for i := range users.Items {
				user := &users.Items[i]
				if meta.IsStatusConditionTrue(user.Status.Conditions, v1alpha1.ConditionAccessRevoked) && user.Status.ObservedGeneration == user.Generation {
					continue
				}
				if total++; len(names) < named {
					names = append(names, user.Spec.UserName)
				}
			}
			return nil
		}, client.InNamespace(app.Namespace), field); err != nil {
			return err
		}
	}
	if total == 0 {
		return nil
	}
	text := fmt.Sprintf("the access of %d inactive or suspended users is not known to be gone: %s", total, joined(names))
	if total > named {
		text += fmt.Sprintf(" and %d more", total-named)
	}
	summary.Problems = append(summary.Problems, text)
	return nil
}

func (s *session) printSummaries(o *output, summaries []*appSummary) error {
	switch o.format {
	case formatName:
		for _, summary := range summaries {
			s.say("app.%s/%s", v1alpha1.GroupName, summary.Name)
		}
		return nil
	case formatJSON, formatYAML:
		return s.printValue(o, summaries)
	}
	if len(summaries) == 0 {
		s.noneFound("Apps")
		return nil
	}
	table := columns("NAMESPACE", "APP", "MODE", "USERS", "ACTIVE", "GROUPS", "TOKENS", "LAST REQUEST", "READY", "BASE URL")
	for _, summary := range summaries {
		groups := "?"
		if summary.Groups != nil {
			groups = fmt.Sprint(*summary.Groups)
		}
		addRow(table, summary.Namespace, summary.Name, summary.Mode, summary.Users, summary.ActiveUsers, groups, summary.Tokens,
			lastRequest(summary), summary.Ready, cmp.Or(summary.BaseURL, "-"))
	}
	if err := s.printTable(o, table); err != nil {
		return err
	}
	for _, summary := range summaries {
		for _, problem := range summary.Problems {
			s.say("%s %s/%s: %s", mark{s.colour(yellow, "!")}, summary.Namespace, summary.Name, problem)
		}
	}
	return nil
}

func lastRequest(summary *appSummary) string {
	switch {
	case !summary.tokensRead:
		return "?"
	case summary.LastRequest == nil:
		return "-"
	}
	return duration.HumanDuration(time.Since(summary.LastRequest.Time)) + " ago"
}

// noneFound tells on standard error that a list is empty, and where else to look.
func (s *session) noneFound(what string) {
	if s.all {
		s.note("No %s found.", what)
		return
	}
	s.note("No %s found in namespace %s; -A looks in all.", what, s.namespace)
}
