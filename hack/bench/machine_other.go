//go:build !linux

package main

import "time"

// memoryOf is not told by other systems in a way that is worth the code.
func memoryOf(int) (resident, peak int64, ok bool) { return 0, 0, false }

// peakMemory is not told either.
func peakMemory(int) (int64, bool) { return 0, false }

// otherWork is not told either.
func otherWork() (time.Duration, bool) { return 0, false }
