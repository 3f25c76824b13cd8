//go:build !linux

package main

import "time"

// peakMemory is not told by other systems in a way that is worth the code.
func peakMemory(int) (int64, bool) { return 0, false }

// otherWork is not told either.
func otherWork() (time.Duration, bool) { return 0, false }
