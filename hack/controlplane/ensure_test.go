package controlplane

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// touch makes executables of that name in the directory.
func touch(t *testing.T, dir string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEnsureTakesTheFirstCompletePlace(t *testing.T) {
	errNoNetwork := errors.New("no network")
	for name, test := range map[string]struct {
		assets, cache []string
		assetsUnset   bool
		downloadError error
		buildError    error
		fromAssets    bool     // the answer is the assets' directory
		did           []string // download and builds, in order
		progress      string   // a part of it
		failure       string   // a part of the error
	}{
		"assets complete":             {assets: coreBinaries, cache: coreBinaries, fromAssets: true},
		"assets incomplete":           {assets: []string{"etcd"}, cache: coreBinaries, progress: "lacks kube-apiserver, kubectl"},
		"cache complete":              {assetsUnset: true, cache: coreBinaries},
		"download":                    {assetsUnset: true, did: []string{"download"}},
		"build after failed download": {assetsUnset: true, downloadError: errNoNetwork, did: []string{"download", "etcd", "kube-apiserver", "kubectl"}, progress: "no download (no network)"},
		"the rest of a broken build":  {assetsUnset: true, cache: []string{"etcd", "kubectl"}, did: []string{"kube-apiserver"}},
		"failed build":                {assetsUnset: true, downloadError: errNoNetwork, buildError: errors.New("compiler says no"), did: []string{"download", "etcd"}, failure: "compiler says no"},
	} {
		t.Run(name, func(t *testing.T) {
			var did []string
			var progress bytes.Buffer
			o := &obtainer{assets: filepath.Join(t.TempDir(), "assets"), cache: filepath.Join(t.TempDir(), "cache"), progress: &progress,
				download: func(_ context.Context, into string, _ io.Writer) error {
					did = append(did, "download")
					if test.downloadError == nil {
						touch(t, into, coreBinaries...)
					}
					return test.downloadError
				},
				build: func(_ context.Context, binary, into string, _ io.Writer) error {
					did = append(did, binary)
					if test.buildError == nil {
						touch(t, into, binary)
					}
					return test.buildError
				},
			}
			touch(t, o.assets, test.assets...)
			touch(t, o.cache, test.cache...)
			want := o.cache
			if test.fromAssets {
				want = o.assets
			}
			if test.assetsUnset {
				o.assets = ""
			}

			got, err := o.ensureCore(t.Context())
			if test.failure != "" {
				if !contains(err, test.failure) {
					t.Fatalf("error %v, want one with %q", err, test.failure)
				}
			} else if err != nil || got != want {
				t.Fatalf("got %q, error %v, want %q", got, err, want)
			}
			if !slices.Equal(did, test.did) {
				t.Errorf("did %q, want %q", did, test.did)
			}
			if !strings.Contains(progress.String(), test.progress) {
				t.Errorf("progress %q lacks %q", &progress, test.progress)
			}
		})
	}
}

func TestEnsureBuildsOnceForConcurrentCallers(t *testing.T) {
	cache := t.TempDir()
	var builds atomic.Int32
	var callers sync.WaitGroup
	for range 4 {
		o := &obtainer{cache: cache, progress: io.Discard,
			download: func(context.Context, string, io.Writer) error { return errors.New("no network") },
			build: func(_ context.Context, binary, into string, _ io.Writer) error {
				builds.Add(1)
				touch(t, into, binary)
				return nil
			},
		}
		callers.Go(func() {
			if _, err := o.ensureCore(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if got := int(builds.Load()); got != len(coreBinaries) {
		t.Errorf("%d builds, want %d", got, len(coreBinaries))
	}
}

func TestEnsureDoesNotBuildAfterCancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := &obtainer{cache: t.TempDir(), progress: io.Discard,
		download: func(context.Context, string, io.Writer) error { cancel(); return ctx.Err() },
		build: func(context.Context, string, string, io.Writer) error {
			t.Error("built after the cancellation")
			return nil
		},
	}
	if _, err := o.ensureCore(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestControllerManagerIsBuiltOnlyIfMissing(t *testing.T) {
	builds := 0
	o := &obtainer{cache: t.TempDir(), progress: io.Discard, build: func(_ context.Context, binary, into string, _ io.Writer) error {
		builds++
		touch(t, into, binary)
		return nil
	}}
	for range 2 {
		path, err := o.ensureControllerManager(t.Context())
		if err != nil || !isExecutable(path) {
			t.Fatalf("path %q, error %v", path, err)
		}
	}
	if builds != 1 {
		t.Errorf("%d builds, want 1", builds)
	}
}

func TestAnotherVersionHasItsOwnCache(t *testing.T) {
	for name, test := range map[string]struct{ asked, assets, version, wantAssets, progress, failure string }{
		"none":            {assets: "/assets", version: Version, wantAssets: "/assets"},
		"the oldest":      {asked: "1.34", version: versions[0]},
		"with a v":        {asked: "v1.34", version: versions[0]},
		"beside assets":   {asked: "1.34", assets: "/assets", version: versions[0], progress: "KUBEBUILDER_ASSETS is left aside"},
		"too old":         {asked: "1.33", failure: "KUBERNETES=1.33: expected one of 1.34, 1.35, 1.36, 1.37"},
		"a patch version": {asked: "1.34.4", failure: "expected one of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(versionVariable, test.asked)
			t.Setenv(assetsVariable, test.assets)
			var progress bytes.Buffer
			o, err := newObtainer(&progress)
			if test.failure != "" {
				if !contains(err, test.failure) {
					t.Fatalf("error %v, want one with %q", err, test.failure)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if o.version != test.version || filepath.Base(o.cache) != test.version || o.assets != test.wantAssets {
				t.Errorf("version %q, cache %q, assets %q", o.version, o.cache, o.assets)
			}
			if !strings.Contains(progress.String(), test.progress) {
				t.Errorf("progress %q lacks %q", &progress, test.progress)
			}
		})
	}
}

func contains(err error, part string) bool { return err != nil && strings.Contains(err.Error(), part) }
