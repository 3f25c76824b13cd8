package process

import (
	"runtime"
	"sync"
	"syscall"
)

func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// starter is a thread that lives as long as the program. The kernel sends Pdeathsig when
// the thread that started the child ends, which for an ordinary goroutine's thread may be
// long before the program's end.
var starter = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

func onStarterThread(start func() error) error {
	result := make(chan error, 1)
	starter() <- func() { result <- start() }
	return <-result
}
