package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/scim-operator/scim-operator/internal/telemetry"
)

// version and commit are set at link time by the Makefile and the Dockerfile.
var version, commit string

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and the commit",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			version, commit := buildVersion()
			_, err := fmt.Fprintf(command.OutOrStdout(), "scim-operator %s (%s) %s %s/%s\n",
				version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

var buildInfo = telemetry.Gauge(telemetry.Both, "build_info", "1, with the version and the commit of the process and the Go version that built it.",
	"version", "commit", "goversion")

// buildVersion returns the version and the commit that this program was built from. What the linker was not told, it reads
// from what the go command recorded.
func buildVersion() (string, string) {
	version, commit := version, commit
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		info = &debug.BuildInfo{}
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && commit == "" {
			commit = setting.Value
		}
	}
	return cmp.Or(version, info.Main.Version, "devel"), cmp.Or(commit, "unknown")
}
