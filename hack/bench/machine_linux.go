package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// clockTick is the unit of processor times in /proc: USER_HZ, 100 a second on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// memoryOf is the resident set of a process, in bytes, as it is and at its largest so far.
func memoryOf(pid int) (resident, peak int64, ok bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, false
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[2]) != "kB" {
			continue
		}
		kibibytes, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return 0, 0, false
		}
		switch string(fields[0]) {
		case "VmHWM:":
			peak = kibibytes << 10
		case "VmRSS:":
			resident = kibibytes << 10
		}
	}
	return resident, peak, resident > 0 && peak > 0
}

// peakMemory is the largest resident set, in bytes, that a process has had.
func peakMemory(pid int) (int64, bool) {
	_, peak, ok := memoryOf(pid)
	return peak, ok
}

// otherWork is the processor time, since the machine started, that neither this process took nor the children that it
// has waited for.
func otherWork() (time.Duration, bool) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	first, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(first) // cpu user nice system idle iowait irq softirq steal …
	if len(fields) < 9 {
		return 0, false
	}
	var ticks int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0, false
		}
		ticks += n
	}
	busy := time.Duration(ticks) * clockTick
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			return 0, false
		}
		busy -= time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return busy, true
}
