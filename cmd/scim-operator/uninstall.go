package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scim-operator/scim-operator/cmd/scim-operator/uninstall"
)

// errNotConfirmed ends an uninstallation that was not confirmed; nothing was changed.
var errNotConfirmed = errors.New("not confirmed: nothing was changed")

func newUninstallCommand() *cobra.Command {
	var flags commonFlags
	var yes, dryRun bool
	var patience time.Duration
	command := &cobra.Command{
		Use:   "uninstall",
		Short: "Revoke all access, then remove everything from the cluster",
		Long: `Revoke all access that the operator gave, then remove its objects, their kinds and
its installation from the cluster of the kubeconfig, with your rights.

It shows first what it takes and from how many people, and asks. The order leaves no
access behind: the operator is stopped, its bindings are emptied and deleted, then
everything else goes. It may be interrupted at any time: run it again, and it goes on.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			config, err := flags.restConfig()
			if err != nil {
				return err
			}
			out := command.OutOrStdout()
			u, err := uninstall.New(config, out, patience)
			if err != nil {
				return err
			}
			if err := u.CheckRights(command.Context()); err != nil {
				return err
			}
			inventory, err := u.Inventory(command.Context())
			if err != nil {
				return err
			}
			inventory.Print(out)
			if dryRun {
				return nil
			}
			if !yes && !confirmed(command) {
				return errNotConfirmed
			}
			return u.Run(command.Context())
		},
	}
	set := command.Flags()
	set.StringVar(&flags.kubeconfig, "kubeconfig", "", "kubeconfig file; empty: the usual places, else the Pod's ServiceAccount")
	set.BoolVar(&yes, "yes", false, "do not ask")
	set.BoolVar(&dryRun, "dry-run", false, "show what would be taken, and end")
	set.DurationVar(&patience, "timeout", 2*time.Minute, "how long to wait for Pods to end and for objects to be gone, each time")
	return command
}

// confirmed asks for the word uninstall: a single key is typed too soon.
func confirmed(command *cobra.Command) bool {
	_, _ = fmt.Fprint(command.OutOrStdout(), "Type uninstall to go on: ")
	answer, _ := bufio.NewReader(command.InOrStdin()).ReadString('\n')
	return strings.TrimSpace(answer) == "uninstall"
}
