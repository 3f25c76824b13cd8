// Command crds finishes the CustomResourceDefinitions that controller-gen has written: each time in them gets a pattern in place of
// the format date-time, and each integer of 32 bits its bounds.
//
// The API server checks that format loosely: it takes 2027-02-01t00:00:00z, +99:99 and even an array, none of which Go reads. One
// object with such a value would stop the watches of all. controller-gen knows the schema of metav1.Time, also that in conditions,
// by heart, so that no marker can say it. A time with a pattern or a rule of its own keeps that.
//
// The format int32 is checked from Kubernetes 1.36 on. Before, a larger number is stored, and Go does not read it either.
//
//	go run ./hack/crds config/crd/bases
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// rfc3339 is what metav1.Time reads: RFC 3339 with days that exist.
const rfc3339 = `^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))` +
	`|[0-9]{2}([2468][048]|0[48]|[13579][26])-02-29|([02468][048]|[13579][26])00-02-29)` +
	`T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: crds DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "crds:", err)
		os.Exit(1)
	}
}

func run(directory string) error {
	files, err := filepath.Glob(filepath.Join(directory, "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no CustomResourceDefinitions", directory)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, finish(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// finish replaces the format of every time in a manifest, and bounds every int32. It takes manifests as controller-gen formats them:
// members of a schema stand below each other, in the order of the alphabet, at one indentation.
func finish(manifest []byte) []byte {
	lines := strings.Split(string(manifest), "\n")
	var finished bytes.Buffer
	for i, line := range lines {
		if indentation, isTime := strings.CutSuffix(line, "format: date-time"); isTime && strings.TrimSpace(indentation) == "" {
			if isConstrained(lines[i+1:], indentation) {
				continue
			}
			line = indentation + "pattern: " + rfc3339
		}
		finished.WriteString(line)
		if i < len(lines)-1 {
			finished.WriteByte('\n')
		}
		if indentation, isInt32 := strings.CutSuffix(line, "format: int32"); isInt32 && strings.TrimSpace(indentation) == "" {
			finished.WriteString(missingBounds(lines[i+1:], indentation))
		}
	}
	return finished.Bytes()
}

// missingBounds returns the lines that the schema of an int32 lacks; what follows the format is given.
func missingBounds(rest []string, indentation string) (lines string) {
	for _, bound := range []struct{ name, value string }{{"maximum", "2147483647"}, {"minimum", "-2147483648"}} {
		stated := false
		for _, line := range rest {
			if member, inSchema := strings.CutPrefix(line, indentation); !inSchema {
				break
			} else if strings.HasPrefix(member, bound.name+":") {
				stated = true
			}
		}
		if !stated {
			lines += indentation + bound.name + ": " + bound.value + "\n"
		}
	}
	return lines
}

// isConstrained reports whether the rest of a schema has a pattern or a rule.
func isConstrained(rest []string, indentation string) bool {
	for _, line := range rest {
		member, inSchema := strings.CutPrefix(line, indentation)
		if !inSchema {
			return false
		}
		if strings.HasPrefix(member, "pattern:") || strings.HasPrefix(member, "x-kubernetes-validations:") {
			return true
		}
		if !strings.HasPrefix(member, " ") && !strings.HasPrefix(member, "- ") && !isOfTime(member) {
			return false
		}
	}
	return false
}

// isOfTime reports whether a line is a member that stands after format in the schema of a time.
func isOfTime(member string) bool {
	return strings.HasPrefix(member, "maxLength:") || strings.HasPrefix(member, "type:")
}
