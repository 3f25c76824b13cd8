package controlplane

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Version is the Kubernetes version of the binaries where $KUBERNETES names no other.
const Version = "v1.37.0"

// versionVariable names the minor version of Kubernetes to run, such as 1.34. The Makefile hands it on.
const versionVariable = "KUBERNETES"

// versions are those that can be had, oldest first: of each minor version the newest patch that the Go module proxy had when its
// module was written into src. The first is the oldest that the operator supports.
var versions = []string{"v1.34.4", "v1.35.4", "v1.36.3", Version}

// Oldest is the oldest minor version of Kubernetes that the operator supports, such as 1.34.
func Oldest() string { return minorOf(versions[0]) }

// wanted returns the version that $KUBERNETES names by its minor version, and whether it names one. It fails for those that src has
// no module of.
func wanted() (version string, named bool, err error) {
	asked := os.Getenv(versionVariable)
	if asked == "" {
		return Version, false, nil
	}
	i := slices.IndexFunc(versions, func(version string) bool { return minorOf(version) == strings.TrimPrefix(asked, "v") })
	if i < 0 {
		var minors []string
		for _, version := range versions {
			minors = append(minors, minorOf(version))
		}
		return "", false, fmt.Errorf("%s=%s: expected one of %s", versionVariable, asked, strings.Join(minors, ", "))
	}
	return versions[i], true, nil
}

// minorOf returns 1.34 for v1.34.4.
func minorOf(version string) string {
	return strings.TrimPrefix(version[:strings.LastIndex(version, ".")], "v")
}
