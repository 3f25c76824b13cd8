package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// docs/flags.md is what the commands take. UPDATE_DOCS=1 writes it anew.
func TestFlagsPage(t *testing.T) {
	page := bytes.NewBufferString("# Flags\n\n" +
		"Of `scim-operator server` and `scim-operator controller`, as `--help` prints them; a test compares this page with them. With the chart most have a value\n" +
		"([its README](../charts/scim-operator/README.md)), others go into `server.extraArgs` and `controller.extraArgs`; an overlay of kustomize adds them to\n" +
		"`args`. A value that a process could not work with ends it at once, with the flag's name and what to write.\n")
	server, controller := newServerCommand(), newControllerCommand()
	shared := func(flag *pflag.Flag) bool {
		other := controller.Flags().Lookup(flag.Name)
		return other != nil && other.Usage == flag.Usage
	}
	for _, part := range []struct {
		title string
		flags *pflag.FlagSet
		takes func(*pflag.Flag) bool
	}{
		{"The SCIM server", server.Flags(), func(flag *pflag.Flag) bool { return !shared(flag) }},
		{"The controller", controller.Flags(), func(flag *pflag.Flag) bool {
			other := server.Flags().Lookup(flag.Name)
			return other == nil || !shared(other)
		}},
		{"Both", server.Flags(), shared},
	} {
		_, _ = fmt.Fprintf(page, "\n## %s\n\n| Flag | Default | What it does |\n|---|---|---|\n", part.title)
		rows := 0
		part.flags.VisitAll(func(flag *pflag.Flag) {
			if flag.Name == "help" || !part.takes(flag) {
				return
			}
			standard := ""
			if flag.DefValue != "" && flag.DefValue != "[]" {
				standard = "`" + flag.DefValue + "`"
			}
			rows++
			_, _ = fmt.Fprintf(page, "| `--%s` | %s | %s |\n", flag.Name, standard, strings.ReplaceAll(flag.Usage, "|", "\\|"))
		})
		if rows == 0 {
			t.Errorf("%s has no flags", part.title)
		}
	}
	comparePage(t, "../../docs/flags.md", page.Bytes())
}
