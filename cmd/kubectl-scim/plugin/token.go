package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// tokenCommands are the commands that list and change tokens, and the entries of Apps for them.
type tokenCommands struct{ *session }

func newToken(s *session) *cobra.Command {
	command := &cobra.Command{
		Use:   "token",
		Short: "Create, rotate, revoke and list the tokens that open Apps",
		Long: `Create, rotate, revoke and list the tokens that open Apps.

A token opens an App that lists it in spec.tokens. These commands edit the
ScimToken and the App together; to add an entry takes the right to bind what
the App grants. A token that they make is shown once: the cluster holds its
digest only. With -o yaml they print the manifests for Git and change nothing.`,
	}
	t := tokenCommands{s}
	command.AddCommand(newTokenCreate(t), newTokenRotate(t), newTokenRevoke(t), newTokenList(t))
	return command
}

func newTokenList(t tokenCommands) *cobra.Command {
	o := &output{}
	command := &cobra.Command{
		Use:               "list [APP...]",
		Aliases:           []string{"ls"},
		Short:             "List tokens, and entries of Apps without a token",
		ValidArgsFunction: t.completeApps(0),
		RunE: t.run(func(ctx context.Context, args []string) error {
			apps, err := t.apps(ctx, args)
			if err != nil {
				return err
			}
			tokens, err := t.tokens(ctx, args)
			if err != nil {
				return err
			}
			if !o.isTable() {
				objects := make([]client.Object, len(tokens))
				for i := range tokens {
					objects[i] = &tokens[i]
				}
				return t.printObjects(o, objects)
			}
			return t.printTokens(o, apps, tokens)
		}),
	}
	t.addAllNamespaces(command)
	o.addTo(command, formatJSON, formatYAML, formatWide, formatName)
	return command
}

// tokens returns the tokens of the named Apps, or all.
func (t tokenCommands) tokens(ctx context.Context, apps []string) (tokens []v1alpha1.ScimToken, err error) {
	list := &v1alpha1.ScimTokenList{}
	return tokens, t.each(ctx, list, func() error {
		for i := range list.Items {
			isOf := func(app string) bool { return bare(app) == list.Items[i].Spec.App }
			if len(apps) == 0 || slices.ContainsFunc(apps, isOf) {
				tokens = append(tokens, *list.Items[i].DeepCopy())
			}
		}
		return nil
	}, t.within())
}

func (t tokenCommands) printTokens(o *output, apps []v1alpha1.App, tokens []v1alpha1.ScimToken) error {
	names := []string{"NAME", "APP", "TOKEN ID", "SOURCE", "ACCEPTED", "REASON", "LAST USED", "EXPIRES", "+SCOPES", "+DESCRIPTION", "AGE"}
	if t.all {
		names = append([]string{"NAMESPACE"}, names...)
	}
	table := columns(names...)
	row := func(namespace string, cells ...any) {
		if t.all {
			cells = append([]any{namespace}, cells...)
		}
		addRow(table, cells...)
	}
	known := map[client.ObjectKey]bool{}
	for i := range tokens {
		token := &tokens[i]
		known[client.ObjectKeyFromObject(token)] = true
		accepted := conditionOf(token.Status.Conditions, v1alpha1.ConditionAccepted)
		row(token.Namespace, token.Name, token.Spec.App, cmp.Or(token.Status.TokenID, "-"), sourceOf(&token.Spec), cmp.Or(string(accepted.Status), "-"), accepted.Reason,
			ago(token.Status.LastUsedTime), until(token.Spec.ExpiresAt), scopesOf(token.Spec.Scopes), token.Spec.Description, age(token))
	}
	for i := range apps {
		for _, entry := range apps[i].Spec.Tokens {
			if !known[client.ObjectKey{Namespace: apps[i].Namespace, Name: entry.Name}] {
				row(apps[i].Namespace, entry.Name, apps[i].Name, "-", "no ScimToken", "False", "ListedOnly", "-", "-", scopesOf(entry.Scopes), "", "-")
			}
		}
	}
	if len(table.Rows) == 0 {
		t.noneFound("tokens")
		return nil
	}
	return t.printTable(o, table)
}

func sourceOf(spec *v1alpha1.ScimTokenSpec) string {
	switch {
	case spec.Generate != nil:
		return "generated"
	case spec.SecretRef != nil:
		return "Secret/" + spec.SecretRef.Name
	}
	return "digest"
}

func scopesOf(scopes []v1alpha1.TokenScope) string {
	if len(scopes) == 0 {
		return "all"
	}
	texts := make([]string, len(scopes))
	for i, scope := range scopes {
		texts[i] = string(scope)
	}
	return strings.Join(texts, ",")
}

func ago(at *metav1.Time) string {
	if at == nil {
		return "never"
	}
	return duration.HumanDuration(time.Since(at.Time)) + " ago"
}

func until(at *metav1.Time) string {
	if at == nil {
		return "never"
	}
	return at.UTC().Format(time.RFC3339)
}

func age(object client.Object) string {
	return duration.HumanDuration(time.Since(object.GetCreationTimestamp().Time))
}

// token finds a ScimToken by name, or by its token ID as logs have it.
func (t tokenCommands) token(ctx context.Context, name string) (*v1alpha1.ScimToken, error) {
	token := &v1alpha1.ScimToken{}
	err := t.client.Get(ctx, client.ObjectKey{Namespace: t.namespace, Name: bare(name)}, token)
	if err == nil || !apierrors.IsNotFound(err) {
		return token, err
	}
	tokens, listErr := t.tokens(ctx, nil)
	if listErr != nil {
		return nil, listErr
	}
	tokens = slices.DeleteFunc(tokens, func(token v1alpha1.ScimToken) bool { return token.Status.TokenID != name })
	switch len(tokens) {
	case 0:
		return nil, fmt.Errorf("no token %q in namespace %s, neither by name nor by token ID", name, t.namespace)
	case 1:
		return &tokens[0], nil
	}
	return nil, fmt.Errorf("%d tokens have the ID %s: name one by its object", len(tokens), name)
}

// completeTokens offers the names of ScimTokens.
func (t tokenCommands) completeTokens(arguments int) completion {
	return t.complete(arguments, func(command *cobra.Command, _ string) (names []string) {
		tokens := &v1alpha1.ScimTokenList{}
		if t.client.List(command.Context(), tokens, t.within(), client.Limit(completionLimit)) == nil {
			for i := range tokens.Items {
				names = append(names, tokens.Items[i].Name)
			}
		}
		return names
	})
}
