package plugin

import (
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// completionLimit bounds what one completion reads and offers.
const completionLimit = 500

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete offers the names that list finds for an argument of a command. Errors offer nothing: a shell has no place for them.
func (s *session) complete(arguments int, list func(command *cobra.Command, typed string) []string) completion {
	return func(command *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if arguments > 0 && len(args) >= arguments || s.connect() != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var offered []string
		for _, name := range list(command, typed) {
			if strings.HasPrefix(name, typed) {
				offered = append(offered, escape(name))
			}
		}
		return offered, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeUsers offers userNames, and the names of objects where that is what is typed.
func (s *session) completeUsers(arguments int) completion {
	return s.complete(arguments, func(command *cobra.Command, _ string) (names []string) {
		users := &v1alpha1.UserList{}
		if s.client.List(command.Context(), users, s.within(), client.Limit(completionLimit)) == nil {
			for i := range users.Items {
				names = append(names, users.Items[i].Spec.UserName, users.Items[i].Name)
			}
		}
		return names
	})
}

func (s *session) completeApps(arguments int) completion {
	return s.complete(arguments, func(command *cobra.Command, _ string) (names []string) {
		apps := &v1alpha1.AppList{}
		if s.client.List(command.Context(), apps, s.within(), client.Limit(completionLimit)) == nil {
			for i := range apps.Items {
				names = append(names, apps.Items[i].Name)
			}
		}
		return names
	})
}

// completeFlags offers values of kubectl's own flags.
func (s *session) completeFlags(root *cobra.Command) {
	_ = root.RegisterFlagCompletionFunc("namespace", s.complete(0, func(command *cobra.Command, _ string) (names []string) {
		namespaces := &corev1.NamespaceList{}
		if s.client.List(command.Context(), namespaces, client.Limit(completionLimit)) == nil {
			for i := range namespaces.Items {
				names = append(names, namespaces.Items[i].Name)
			}
		}
		return names
	}))
	_ = root.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		raw, err := s.flags.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for name := range raw.Contexts {
			names = append(names, name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}
