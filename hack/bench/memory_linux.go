package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// peakMemory is the largest resident set, in bytes, that a process has had.
func peakMemory(pid int) (int64, bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) == 3 && string(fields[0]) == "VmHWM:" && string(fields[2]) == "kB" {
			kibibytes, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return kibibytes << 10, err == nil
		}
	}
	return 0, false
}
