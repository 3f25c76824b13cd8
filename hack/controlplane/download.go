package controlplane

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

const (
	// firstByteTimeout bounds each step until an answer begins: in a closed network the
	// build has to start soon.
	firstByteTimeout = 10 * time.Second
	// indexTimeout bounds the whole of the first request, redirects and all.
	indexTimeout = 20 * time.Second
	// stallTimeout ends a download whose bytes have stopped coming.
	stallTimeout = 30 * time.Second

	maxIndexBytes  = 16 << 20
	maxBinaryBytes = 1 << 30
)

// releaseIndex is the list that setup-envtest reads: archives by version, then by file name.
type releaseIndex struct {
	Releases map[string]map[string]releaseArchive `json:"releases"`
}

type releaseArchive struct {
	Hash     string `json:"hash"` // SHA-512, hexadecimal
	SelfLink string `json:"selfLink"`
}

// downloadArchive fills the directory from the archive that setup-envtest would take: that of
// Version or, where there is none, of the newest patch of the same minor version.
//
// controller-runtime downloads only as a part of starting its own control plane, and without
// a time limit; hence this reader of the same list.
func downloadArchive(ctx context.Context, into string, progress io.Writer) error {
	return downloadFrom(ctx, envtest.DefaultBinaryAssetsIndexURL, into, progress)
}

func downloadFrom(ctx context.Context, indexURL, into string, progress io.Writer) error {
	client := newDownloadClient()
	say(progress, "looking for an archive at %s", indexURL)
	index, err := fetchIndex(ctx, client, indexURL)
	if err != nil {
		return err
	}
	name, archive, err := selectArchive(index, Version, runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return err
	}
	say(progress, "downloading %s", archive.SelfLink)
	file, err := fetchArchive(ctx, client, archive, progress)
	if err != nil {
		return fmt.Errorf("downloading %s: %w", name, err)
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	return unpack(file, into)
}

func newDownloadClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: firstByteTimeout}).DialContext
	transport.TLSHandshakeTimeout = firstByteTimeout
	transport.ResponseHeaderTimeout = firstByteTimeout
	return &http.Client{Transport: transport}
}

func fetchIndex(ctx context.Context, client *http.Client, url string) (*releaseIndex, error) {
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	body, err := get(ctx, client, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(body, maxIndexBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the list of archives: %w", err)
	}
	index := &releaseIndex{}
	if err := yaml.Unmarshal(data, index); err != nil {
		return nil, fmt.Errorf("reading the list of archives: %w", err)
	}
	return index, nil
}

func get(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, fmt.Errorf("%s answered %s", url, response.Status)
	}
	return response.Body, nil
}

// selectArchive prefers the exact version, then the newest release of the same minor version.
func selectArchive(index *releaseIndex, want, goos, goarch string) (string, releaseArchive, error) {
	wanted, err := version.ParseSemantic(want)
	if err != nil {
		return "", releaseArchive{}, err
	}
	var best *version.Version
	var bestName string
	var bestArchive releaseArchive
	for release, archives := range index.Releases {
		v, err := version.ParseSemantic(release)
		if err != nil || v.PreRelease() != "" || v.Major() != wanted.Major() || v.Minor() != wanted.Minor() {
			continue
		}
		name := fmt.Sprintf("envtest-%s-%s-%s.tar.gz", release, goos, goarch)
		archive, ok := archives[name]
		if !ok {
			continue
		}
		if v.EqualTo(wanted) {
			return name, archive, nil
		}
		if best == nil || v.GreaterThan(best) {
			best, bestName, bestArchive = v, name, archive
		}
	}
	if best == nil {
		return "", releaseArchive{}, fmt.Errorf("the list has no archive of Kubernetes %d.%d for %s/%s",
			wanted.Major(), wanted.Minor(), goos, goarch)
	}
	return bestName, bestArchive, nil
}

// fetchArchive downloads into a temporary file, which the caller removes, and compares the
// digest. The returned file stands at its beginning.
func fetchArchive(ctx context.Context, client *http.Client, archive releaseArchive, progress io.Writer) (_ *os.File, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := get(ctx, client, archive.SelfLink)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	file, err := os.CreateTemp("", "envtest-*.tar.gz")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()

	digest := sha512.New()
	watched := &watchedReader{reader: body, stalled: time.AfterFunc(stallTimeout, cancel), progress: progress, told: time.Now()}
	defer watched.stalled.Stop()
	if _, err := io.Copy(io.MultiWriter(file, digest), watched); err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != archive.Hash {
		return nil, fmt.Errorf("digest %s is not the listed %s", got, archive.Hash)
	}
	_, err = file.Seek(0, io.SeekStart)
	return file, err
}

// watchedReader pushes back the stall timer with each read and tells the progress.
type watchedReader struct {
	reader   io.Reader
	stalled  *time.Timer
	progress io.Writer
	told     time.Time
	bytes    int64
}

func (w *watchedReader) Read(buffer []byte) (int, error) {
	n, err := w.reader.Read(buffer)
	w.bytes += int64(n)
	if n > 0 {
		w.stalled.Reset(stallTimeout)
	}
	if time.Since(w.told) > 5*time.Second {
		w.told = time.Now()
		say(w.progress, "downloaded %d MiB", w.bytes>>20)
	}
	return n, err
}

// unpack takes the wanted binaries out of the archive, whatever directories lie around them.
func unpack(archive io.Reader, into string) error {
	decompressed, err := gzip.NewReader(archive)
	if err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	entries := tar.NewReader(decompressed)
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpacking: %w", err)
		}
		name := path.Base(header.Name)
		if header.Typeflag != tar.TypeReg || !slices.Contains(coreBinaries, name) {
			continue
		}
		if err := writeExecutable(filepath.Join(into, name), io.LimitReader(entries, maxBinaryBytes)); err != nil {
			return fmt.Errorf("unpacking %s: %w", name, err)
		}
	}
}

// writeExecutable appears under its name only when it is whole.
func writeExecutable(path string, content io.Reader) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if _, err := io.Copy(file, content); err != nil {
		_ = file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Chmod(file.Name(), 0o755); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
