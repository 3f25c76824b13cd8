package localoperator

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// BuildOperator compiles ./cmd/scim-operator of the module that the working directory is in and returns the executable's
// path in the user's cache. Several test processes may build at once: each puts a whole file in place, and a replaced one
// goes on running. It fails outside of a module, and where the build does, with its output.
func BuildOperator(ctx context.Context) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "scim-operator", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(scratch) }()

	built := filepath.Join(scratch, "scim-operator")
	command := exec.CommandContext(ctx, "go", "build", "-o", built)
	if packages := os.Getenv("COVERPKG"); packages != "" { // make test COVER=1: see coverage
		command.Args = append(command.Args, "-cover", "-coverpkg="+packages)
	}
	command.Args = append(command.Args, "./cmd/scim-operator")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the operator: %w\n%s", err, output)
	}
	// Each checkout has an executable of its own.
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(root))
	own := filepath.Join(dir, fmt.Sprintf("%08x", hash.Sum32()))
	if err := os.MkdirAll(own, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(own, "scim-operator") // its name in the image: managedFields have it
	return path, os.Rename(built, path)
}

// coverage is what the environment of an operator needs to write into COVERDIR what it has reached, for make test COVER=1. go test
// gives its own GOCOVERDIR to a test and removes it afterwards.
func coverage() []string {
	if dir := os.Getenv("COVERDIR"); dir != "" {
		return []string{"GOCOVERDIR=" + dir}
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("looking for the module: %w", err)
	}
	file := strings.TrimSpace(string(output))
	if file == "" || file == os.DevNull {
		return "", errors.New("looking for the module: the working directory is in none")
	}
	return filepath.Dir(file), nil
}
