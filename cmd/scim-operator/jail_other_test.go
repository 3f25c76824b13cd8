//go:build !linux

package main

import (
	"context"
	"os/exec"
	"testing"
)

// jailed returns a command that runs the binary in root with arguments that name paths below it.
func jailed(ctx context.Context, t *testing.T, root string, args ...string) *exec.Cmd {
	t.Helper()
	t.Log("WITHOUT A JAIL: only Linux has one")
	return unjailed(ctx, root, args...)
}
