package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestUninstallAsksForTheWholeWord(t *testing.T) {
	for answer, want := range map[string]bool{"uninstall\n": true, " uninstall": true, "y\n": false, "yes\n": false, "\n": false, "": false, "uninstall it\n": false} {
		command := &cobra.Command{}
		command.SetIn(strings.NewReader(answer))
		command.SetOut(&bytes.Buffer{})
		if got := confirmed(command); got != want {
			t.Errorf("%q: %t, want %t", answer, got, want)
		}
	}
}
