package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/token"
)

// tokenFlags are the flags of commands that change tokens.
type tokenFlags struct {
	output      output
	wait        time.Duration
	name        string
	expiresIn   time.Duration
	description string
	scopes      []string
	cidrs       []string
	overlap     time.Duration
	// overlapSet says that the command names an overlap.
	overlapSet bool
	// bounds are the scopes of the App's entry.
	bounds []v1alpha1.TokenScope
}

// entry returns the App's entry of a new token.
func (f *tokenFlags) entry(made *v1alpha1.ScimToken) v1alpha1.AcceptedToken {
	return v1alpha1.AcceptedToken{Name: made.Name, Digest: made.Spec.Digest, Scopes: f.bounds}
}

func newTokenCreate(t tokenCommands) *cobra.Command {
	f := &tokenFlags{}
	command := &cobra.Command{
		Use:   "create APP",
		Short: "Make a token that opens an App, and show it once",
		Long: `Make a token that opens an App, and show it once.

The token is made here, and is the only thing on standard output; the cluster
gets its digest. With -o yaml the manifests for Git are on standard output and
the token is on standard error.`,
		Example: `  kubectl scim token create quickstart --expires-in 2160h --description Okta
  kubectl scim token create quickstart -o yaml > token.yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeApps(1),
		RunE: t.run(func(ctx context.Context, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			made := &v1alpha1.ScimToken{Spec: v1alpha1.ScimTokenSpec{App: bare(args[0]), Description: f.description, AllowedCIDRs: f.cidrs}}
			for _, scope := range f.scopes {
				made.Spec.Scopes = append(made.Spec.Scopes, v1alpha1.TokenScope(scope))
			}
			return t.makeToken(ctx, f, made)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&f.name, "name", "", "name of the ScimToken; empty: the App's name and the token's ID")
	flags.DurationVar(&f.expiresIn, "expires-in", 0, "how long the token is accepted, such as 2160h for 90 days; 0 for ever")
	flags.StringVar(&f.description, "description", "", "which client uses the token")
	flags.StringSliceVar(&f.scopes, "scopes", nil, "what the token may ask for: read, users, groups; none for everything")
	flags.StringSliceVar(&f.cidrs, "allowed-cidrs", nil, "networks that requests must come from; none for any")
	_ = command.RegisterFlagCompletionFunc("scopes", cobra.FixedCompletions([]string{
		string(v1alpha1.TokenScopeRead), string(v1alpha1.TokenScopeUsers), string(v1alpha1.TokenScopeGroups)}, cobra.ShellCompDirectiveNoFileComp))
	f.addCommon(command)
	return command
}

func (f *tokenFlags) addCommon(command *cobra.Command) {
	command.Flags().DurationVar(&f.wait, "wait", 30*time.Second, "how long to wait for the controller; 0 for not at all")
	f.output.addTo(command, formatYAML)
}

// check refuses times that would have a token end before it begins.
func (f *tokenFlags) check() error {
	switch {
	case f.expiresIn < 0:
		return fmt.Errorf("--expires-in %s: the token would have ended before it is made", f.expiresIn)
	case f.overlap < 0:
		return fmt.Errorf("--overlap %s: want 0 or more; 0 ends the former token at once", f.overlap)
	}
	return nil
}

// makeToken completes a ScimToken with a new digest, and adds or prints it with the App's entry.
func (t tokenCommands) makeToken(ctx context.Context, f *tokenFlags, made *v1alpha1.ScimToken) error {
	text, err := token.New()
	if err != nil {
		return err
	}
	made.Spec.Digest = token.Digest(text)
	made.Namespace = t.namespace
	if made.Name = f.name; made.Name == "" {
		made.Name = made.Spec.App + "-" + token.ID(made.Spec.Digest)
	}
	if f.expiresIn > 0 {
		made.Spec.ExpiresAt = &metav1.Time{Time: time.Now().Add(f.expiresIn).UTC().Truncate(time.Second)}
	}
	if f.output.format == formatYAML {
		if err := t.printManifests(ctx, made.Spec.App, func(entries []v1alpha1.AcceptedToken) []v1alpha1.AcceptedToken {
			return append(without(entries, made.Name), f.entry(made))
		}, made); err != nil {
			return err
		}
		t.note("The token, which is shown this once:\n%s", text)
		return nil
	}
	if err := t.addToken(ctx, made, f.entry(made)); err != nil {
		return err
	}
	t.note("ScimToken %s is created, and App %s lists it. The token is shown this once:", made.Name, made.Spec.App)
	t.say("%s", text)
	return t.awaitAccepted(ctx, made, f.wait)
}

func newTokenRotate(t tokenCommands) *cobra.Command {
	f := &tokenFlags{}
	var command *cobra.Command
	command = &cobra.Command{
		Use:   "rotate TOKEN",
		Short: "Make a token in place of another one, which ends after an overlap",
		Long: `Make a token in place of another one, which ends after an overlap.

The new token is bound as the former one is: scopes, networks, description.
Both open the App until the overlap ends; put the new one into the client
before that. TOKEN is the name of a ScimToken, or a token ID as logs have it.

Of a ScimToken with spec.rotation the controller is asked to make the next
token now; standard output has the name of its Secret. That is refused while
the former token is accepted: the client may still use it.`,
		Example:           "  kubectl scim token rotate quickstart-1b4f0e98 --overlap 24h",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeTokens(1),
		RunE: t.run(func(ctx context.Context, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			former, err := t.token(ctx, args[0])
			if err != nil {
				return err
			}
			if former.Spec.Rotation != nil {
				f.overlapSet = command.Flags().Changed("overlap")
				return t.askForRotation(ctx, f, former)
			}
			return t.rotate(ctx, f, former)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&f.name, "name", "", "name of the new ScimToken; empty: the App's name and the token's ID")
	flags.DurationVar(&f.overlap, "overlap", 24*time.Hour, "how long the former token is still accepted")
	flags.DurationVar(&f.expiresIn, "expires-in", 0, "how long the new token is accepted; 0: as long as the former one was to be, from now")
	f.addCommon(command)
	return command
}

func (t tokenCommands) rotate(ctx context.Context, f *tokenFlags, former *v1alpha1.ScimToken) error {
	if former.Spec.SecretRef != nil {
		return fmt.Errorf("ScimToken %s takes its token from Secret %s: put another token there", former.Name, former.Spec.SecretRef.Name)
	}
	if f.name == former.Name {
		return fmt.Errorf("--name %s is the former token's: two overlap", f.name)
	}
	if life := former.Spec.ExpiresAt; life != nil && f.expiresIn == 0 {
		f.expiresIn = life.Sub(former.CreationTimestamp.Time)
	}
	app, err := t.app(ctx, former.Spec.App)
	if err != nil {
		return err
	}
	made := &v1alpha1.ScimToken{Spec: *former.Spec.DeepCopy()}
	made.Spec.Generate, made.Spec.NotBefore, made.Spec.ExpiresAt, made.Spec.Suspended = nil, nil, nil, false
	// The App's entry bounds the successor as it bounds the former token.
	if i := slices.IndexFunc(app.Spec.Tokens, func(entry v1alpha1.AcceptedToken) bool { return entry.Name == former.Name }); i >= 0 {
		f.bounds = app.Spec.Tokens[i].Scopes
	}
	end := metav1.NewTime(time.Now().Add(f.overlap).UTC().Truncate(time.Second))
	if until := former.Spec.ExpiresAt; until != nil && until.Before(&end) {
		end = *until
	}
	if f.output.format == formatYAML {
		ending := former.DeepCopy()
		ending.Spec.ExpiresAt = &end
		if err := t.printFormer(ending); err != nil {
			return err
		}
		return t.makeToken(ctx, f, made)
	}
	if err := t.makeToken(ctx, f, made); err != nil {
		t.note("ScimToken %s stays as it is.", former.Name)
		return err
	}
	if err := t.patchSpec(ctx, former, map[string]any{"expiresAt": end}); err != nil {
		return fmt.Errorf("the new token is made, and the former one has no end yet: %w", err)
	}
	t.note("ScimToken %s opens the App until %s.", former.Name, until(&end))
	return nil
}

func newTokenRevoke(t tokenCommands) *cobra.Command {
	f := &tokenFlags{}
	command := &cobra.Command{
		Use:   "revoke TOKEN",
		Short: "End a token: take it off its App's list and delete it",
		Long: `End a token: take it off its App's list and delete it.

TOKEN is the name of a ScimToken, or a token ID as logs have it. Exit status 1:
the same secret still opens an App as another ScimToken.`,
		Example:           "  kubectl scim token revoke quickstart-1b4f0e98",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeTokens(1),
		RunE: t.run(func(ctx context.Context, args []string) error {
			ended, err := t.token(ctx, args[0])
			if err != nil {
				return err
			}
			change := func(entries []v1alpha1.AcceptedToken) []v1alpha1.AcceptedToken { return without(entries, ended.Name) }
			if f.output.format == formatYAML {
				t.note("Delete the manifest of ScimToken %s, too.", ended.Name)
				return t.printManifests(ctx, ended.Spec.App, change)
			}
			return t.revoke(ctx, ended, change)
		}),
	}
	f.output.addTo(command, formatYAML)
	return command
}

// revoke takes the entry away first: it is what opens the App.
func (t tokenCommands) revoke(ctx context.Context, ended *v1alpha1.ScimToken, change func([]v1alpha1.AcceptedToken) []v1alpha1.AcceptedToken) error {
	app, err := t.editEntries(ctx, ended.Spec.App, change)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil {
		t.noteAppliers(app)
		if len(app.Spec.Tokens) == 0 {
			t.note("App %s lists no token any more: no client can reach it.", app.Name)
		}
	}
	if err := t.client.Delete(ctx, ended); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("the App lists the token no more, and the ScimToken is still there: %w", err)
	}
	t.note("ScimToken %s is revoked.", ended.Name)
	return t.findCopies(ctx, ended)
}

// findCopies tells of ScimTokens with the same digest: the secret still opens their Apps.
func (t tokenCommands) findCopies(ctx context.Context, ended *v1alpha1.ScimToken) error {
	digest := cmp.Or(ended.Status.Digest, ended.Spec.Digest)
	if digest == "" {
		return nil
	}
	others, err := t.tokens(ctx, nil)
	if err != nil {
		return err
	}
	var found error
	for i := range others {
		other := &others[i]
		if other.Name != ended.Name && cmp.Or(other.Status.Digest, other.Spec.Digest) == digest {
			t.note("The same secret is ScimToken %s of App %s: revoke that one, too.", other.Name, other.Spec.App)
			found = errNo
		}
	}
	return found
}
