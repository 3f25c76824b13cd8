package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// imageUser is the id of the image's user.
const imageUser = 65532

// jailed returns a command that runs the binary in root with arguments that name paths below it: as the image's user,
// without capabilities, in a root file system that holds nothing else. A test that does not run as root makes a user
// namespace for it. Where the system allows none, the file system stays as it is, and the test says so.
func jailed(ctx context.Context, t *testing.T, root string, args ...string) *exec.Cmd {
	t.Helper()
	attributes := &syscall.SysProcAttr{Chroot: root, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		attributes.Credential = &syscall.Credential{Uid: imageUser, Gid: imageUser}
	} else {
		attributes.Cloneflags = syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Geteuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getegid(), Size: 1}}
	}
	probe := exec.CommandContext(ctx, "/scim-operator", "version")
	probe.SysProcAttr, probe.Dir, probe.Env = attributes, "/", []string{}
	if output, err := probe.CombinedOutput(); err != nil {
		if !os.IsPermission(err) {
			t.Fatalf("in the jail: %v\n%s", err, output)
		}
		t.Logf("WITHOUT A JAIL: this system allows neither chroot nor user namespaces (%v)", err)
		return unjailed(ctx, root, args...)
	}
	command := exec.CommandContext(ctx, "/scim-operator", args...)
	command.SysProcAttr, command.Dir, command.Env = attributes, "/", []string{}
	return command
}
