package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestChartVersions(t *testing.T) {
	for version, want := range map[string]string{
		"v0.1.0": "0.1.0", "v1.2.3-rc.1": "1.2.3-rc.1", "v0.1.0-4-gabcdef0": "0.1.0-4-gabcdef0", "0123456": "0.0.0-g0123456",
		"abc-dirty": "0.0.0-gabc-dirty", "devel": "0.0.0-gdevel", "v1.2": "0.0.0-gv1-2",
	} {
		if got := chartVersion(version); got != want {
			t.Errorf("%s becomes %s, want %s", version, got, want)
		}
	}
}

func TestBadArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-version", "", "-platforms", "linux/amd64"},
		{"-version", "../v1", "-platforms", "linux/amd64"},
		{"-version", "v1.0.0"},
		{"-version", "v1.0.0", "-platforms", "linux"},
		{"-checksums", "-dir", filepath.Join(t.TempDir(), "none")},
	} {
		if err := run(t.Context(), append([]string{"-dir", t.TempDir()}, args...)); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// What an archive of the chart may not hold: a file outside of it.
func TestArchivesAreReadBack(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{"chart/b": true, "../b": false, "/b": false} {
		archive := filepath.Join(dir, "a.tgz")
		if err := writeTar(archive, []file{{name, source, 0o644}}, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		files, err := unpack(archive, filepath.Join(dir, "out"))
		if (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
		if !good {
			continue
		}
		if data, err := os.ReadFile(files[0].path); err != nil || string(data) != "text\n" {
			t.Errorf("%q, %v", data, err)
		}
	}
}

func TestSumsAreThoseOfTheFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the file of sums is not in itself
		if err := checksums(dir); err != nil {
			t.Fatal(err)
		}
	}
	sums, err := os.ReadFile(filepath.Join(dir, sumsName))
	if err != nil || strings.TrimSpace(string(sums)) != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a" {
		t.Errorf("%q, %v", sums, err)
	}
}
