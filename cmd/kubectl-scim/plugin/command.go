package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const longHelp = `Look after the users, Apps and tokens of scim-operator.

It works with the rights of your kubeconfig and needs no others. Where one is
missing, the error names it.

Exit status: 0 done; 1 done, and the answer is no (access is not gone in time;
test: a step failed; import: lines were refused; diff: there are differences;
person: something could not be looked at, or is left);
2 not done, the error says why; 3 not done, a right is missing; 130 interrupted.`

// Run executes one command line and returns its exit status. Output and errors go to the streams. It does not read os.Args
// or the process's streams.
func Run(ctx context.Context, streams genericiooptions.IOStreams, version string, args []string) int {
	log.SetLogger(logr.Discard()) // the client's library logs; the plugin prints
	root := newRoot(streams, version)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	status := exitStatus(ctx, err)
	if text := errorText(err); text != "" && !errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintln(streams.ErrOut, "error:", escape(text))
	}
	return status
}

func newRoot(streams genericiooptions.IOStreams, version string) *cobra.Command {
	s := &session{console: console{streams}, flags: genericclioptions.NewConfigFlags(true)}
	root := &cobra.Command{
		Use:           "kubectl-scim",
		Short:         "Look after the users, Apps and tokens of scim-operator",
		Long:          longHelp,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true, // Run prints it, once
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl scim"},
	}
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %s --help", err, command.CommandPath())
	})
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	s.flags.AddFlags(root.PersistentFlags())
	s.completeFlags(root)
	root.AddCommand(newStatus(s), newGet(s), newExplain(s), newSuspend(s), newResume(s), newToken(s), newOAuth(s), newTest(s), newExport(s), newImport(s), newDiff(s), newPerson(s))
	for _, command := range root.Commands() {
		if command.HasSubCommands() {
			command.RunE = helpOrUnknown
		}
	}
	tellUsage(root)
	return root
}

// tellUsage has a command, and those below it, say how they are called where their arguments are wrong.
func tellUsage(command *cobra.Command) {
	if check := command.Args; check != nil {
		command.Args = func(command *cobra.Command, args []string) error {
			if err := check(command, args); err != nil {
				return fmt.Errorf("%w: usage: %s", err, command.UseLine())
			}
			return nil
		}
	}
	for _, below := range command.Commands() {
		tellUsage(below)
	}
}

// helpOrUnknown runs a command that has others below it: it shows its help, and refuses a word that is none of them. Cobra would show the
// help in its place, and say that all is done.
func helpOrUnknown(command *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q for %q", args[0], command.CommandPath())
	}
	return command.Help()
}
