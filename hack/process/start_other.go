//go:build unix && !linux

package process

import "syscall"

func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func onStarterThread(start func() error) error { return start() }
