package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// assetsVariable names a directory of ready binaries, as setup-envtest prints it.
const assetsVariable = "KUBEBUILDER_ASSETS"

var coreBinaries = []string{"etcd", "kube-apiserver", "kubectl"}

const controllerManagerBinary = "kube-controller-manager"

// lockInterval is how often a process looks whether another one has obtained the binaries.
const lockInterval = 200 * time.Millisecond

// Ensure returns a directory that holds etcd, kube-apiserver and kubectl. It takes the first of: $KUBEBUILDER_ASSETS, the
// user's cache, the archive that setup-envtest would download, a build from the Go module proxy (about eight minutes on two
// cores, once). What it does longer than an instant is told on progress, a line at a time. It fails where none of them has
// all three.
//
// $KUBERNETES asks for another minor version than Version's, such as 1.34, which has a cache of its own. $KUBEBUILDER_ASSETS,
// which may be of any version, is left aside then.
//
// Callers in several processes may call it at once: one works, the others wait for it.
func Ensure(ctx context.Context, progress io.Writer) (string, error) {
	o, err := newObtainer(progress)
	if err != nil {
		return "", err
	}
	return o.ensureCore(ctx)
}

// EnsureControllerManager returns the path of kube-controller-manager, which no archive of setup-envtest holds: it is in the
// cache or is built from the Go module proxy. It fails where the build does.
func EnsureControllerManager(ctx context.Context, progress io.Writer) (string, error) {
	o, err := newObtainer(progress)
	if err != nil {
		return "", err
	}
	return o.ensureControllerManager(ctx)
}

// obtainer holds the places to look at and the two ways to fill the cache, so that the order
// in which they are tried can be tested without a network or a compiler.
type obtainer struct {
	assets   string // value of KUBEBUILDER_ASSETS
	version  string
	cache    string // directory of the version in the user's cache
	progress io.Writer
	download func(ctx context.Context, into string, progress io.Writer) error
	build    func(ctx context.Context, binary, into string, progress io.Writer) error
}

func newObtainer(progress io.Writer) (*obtainer, error) {
	version, named, err := wanted()
	if err != nil {
		return nil, err
	}
	userCache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("looking for a place to keep the control plane's binaries: %w", err)
	}
	o := &obtainer{
		assets:   os.Getenv(assetsVariable),
		version:  version,
		cache:    filepath.Join(userCache, "scim-operator", "controlplane", version),
		progress: progress,
		download: func(ctx context.Context, into string, progress io.Writer) error {
			return downloadFrom(ctx, "", version, into, progress)
		},
		build: func(ctx context.Context, binary, into string, progress io.Writer) error {
			return buildBinary(ctx, version, binary, into, progress)
		},
	}
	if named && o.assets != "" {
		o.say("%s=%s: %s is left aside", versionVariable, minorOf(version), assetsVariable)
		o.assets = ""
	}
	return o, nil
}

func (o *obtainer) ensureCore(ctx context.Context) (string, error) {
	if o.assets != "" {
		absent := missing(o.assets, coreBinaries)
		if len(absent) == 0 {
			return o.assets, nil
		}
		o.say("%s=%s lacks %s: looking elsewhere", assetsVariable, o.assets, strings.Join(absent, ", "))
	}
	if len(missing(o.cache, coreBinaries)) == 0 {
		return o.cache, nil
	}
	unlock, err := o.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	absent := missing(o.cache, coreBinaries)
	if len(absent) == 0 { // the former holder of the lock has done it
		return o.cache, nil
	}

	o.say("obtaining %s of Kubernetes %s into %s", strings.Join(absent, ", "), o.version, o.cache)
	if len(absent) == len(coreBinaries) {
		err := o.download(ctx, o.cache, o.progress)
		if err == nil {
			err = complete(o.cache)
		}
		if err == nil {
			return o.cache, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		o.say("no download (%v): building from the Go module proxy instead", err)
	}
	for _, binary := range missing(o.cache, coreBinaries) {
		if err := o.build(ctx, binary, o.cache, o.progress); err != nil {
			return "", err
		}
	}
	return o.cache, complete(o.cache)
}

func (o *obtainer) ensureControllerManager(ctx context.Context) (string, error) {
	path := filepath.Join(o.cache, controllerManagerBinary)
	if isExecutable(path) {
		return path, nil
	}
	unlock, err := o.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	if isExecutable(path) {
		return path, nil
	}
	return path, o.build(ctx, controllerManagerBinary, o.cache, o.progress)
}

// lock serialises all processes that want to fill the cache.
func (o *obtainer) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(o.cache, 0o755); err != nil {
		return nil, fmt.Errorf("making the control plane's cache: %w", err)
	}
	lock := flock.New(filepath.Join(o.cache, ".lock"))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		o.say("another process is obtaining the control plane's binaries: waiting for it")
		_, err = lock.TryLockContext(ctx, lockInterval)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the control plane's cache: %w", err)
	}
	return func() { _ = lock.Close() }, nil
}

func (o *obtainer) say(format string, arguments ...any) { say(o.progress, format, arguments...) }

// say writes one line of progress. It ignores errors of the terminal.
func say(progress io.Writer, format string, arguments ...any) {
	_, _ = fmt.Fprintf(progress, "control plane: "+format+"\n", arguments...)
}

func complete(dir string) error {
	if absent := missing(dir, coreBinaries); len(absent) > 0 {
		return errors.New("still missing: " + strings.Join(absent, ", "))
	}
	return nil
}

func missing(dir string, binaries []string) []string {
	var absent []string
	for _, binary := range binaries {
		if !isExecutable(filepath.Join(dir, binary)) {
			absent = append(absent, binary)
		}
	}
	return absent
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
