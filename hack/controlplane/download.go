package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// indexTimeout bounds the look at the list of releases: in a closed network the build has to start soon.
	indexTimeout = 30 * time.Second
	// downloadTimeout bounds the download of one archive of about 100 MiB.
	downloadTimeout = 10 * time.Minute
)

// downloadFrom fills the directory from the release that setup-envtest downloads, with its digest compared: that of the version
// or, where there is none, of the newest patch of its minor version. An empty indexURL is the list of releases of setup-envtest.
// It fails where the list cannot be read, has no such release, or the download takes more than ten minutes.
func downloadFrom(ctx context.Context, indexURL, version, into string, progress io.Writer) error {
	work, err := os.MkdirTemp(into, ".download-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	moduleDir := filepath.Join(work, "src")
	if err := materialise("envtest", moduleDir); err != nil {
		return fmt.Errorf("writing the module of setup-envtest: %w", err)
	}
	say(progress, "looking for a release of setup-envtest")
	tool := envtest{dir: moduleDir, bin: filepath.Join(work, "bin"), index: indexURL, progress: progress}
	releases, err := tool.run(ctx, indexTimeout, "list")
	if err != nil {
		return err
	}
	from, err := tool.run(ctx, downloadTimeout, "use", releaseToUse(releases, version), "--print", "path")
	if err != nil {
		return err
	}
	return moveBinaries(strings.TrimSpace(from), into)
}

// envtest runs setup-envtest, pinned by an embedded module.
type envtest struct {
	dir, bin string // of the module, and for what is downloaded
	index    string
	progress io.Writer
}

func (e envtest) run(ctx context.Context, limit time.Duration, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	command := exec.CommandContext(ctx, "go", "tool", "setup-envtest", "--bin-dir", e.bin)
	if e.index != "" {
		command.Args = append(command.Args, "--index", e.index)
	}
	command.Args = append(command.Args, arguments...)
	command.Dir = e.dir
	command.Env = append(os.Environ(), "GOWORK=off", "ENVTEST_INSTALLED_ONLY=", "ENVTEST_USE_ENV=", "GOFLAGS=-mod=mod", "GOOS=", "GOARCH=", "PWD="+e.dir)
	command.WaitDelay = 5 * time.Second
	var out, failure bytes.Buffer
	command.Stdout, command.Stderr = &out, &failure
	started := time.Now()
	err := runTicking(command, func() {
		say(e.progress, "setup-envtest %s: %s", arguments[0], time.Since(started).Round(time.Second))
	})
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("setup-envtest %s took more than %s", arguments[0], limit)
	case err != nil:
		return "", fmt.Errorf("setup-envtest %s: %s", strings.Join(arguments, " "), lastLine(failure.String(), err.Error()))
	}
	return out.String(), nil
}

// releaseToUse returns want as setup-envtest names it where the list has it, else the pattern of its newest patch.
func releaseToUse(list, want string) string {
	for line := range strings.Lines(list) {
		for _, field := range strings.Fields(line) {
			if field == want {
				return strings.TrimPrefix(want, "v")
			}
		}
	}
	return minorOf(want) + ".x!"
}

// moveBinaries takes what Ensure answers for; a name appears when its file is whole.
func moveBinaries(from, into string) error {
	for _, binary := range coreBinaries {
		if err := os.Rename(filepath.Join(from, binary), filepath.Join(into, binary)); err != nil {
			return fmt.Errorf("the release: %w", err)
		}
	}
	return nil
}

// lastLine returns the last line of text, or otherwise where there is none.
func lastLine(text, otherwise string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return otherwise
}
