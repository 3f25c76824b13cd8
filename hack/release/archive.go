package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// file is one file of an archive: its name there, where it is read, and its mode.
type file struct {
	name, path string
	mode       os.FileMode
}

// writeTar writes a compressed archive that holds nothing of the machine: no owner, and one time for all.
func writeTar(path string, files []file, when time.Time) error {
	return create(path, func(out io.Writer) error {
		compressed, err := gzip.NewWriterLevel(out, gzip.BestCompression)
		if err != nil {
			return err
		}
		archive := tar.NewWriter(compressed)
		for _, f := range files {
			data, err := os.ReadFile(f.path)
			if err != nil {
				return err
			}
			header := &tar.Header{Name: f.name, Mode: int64(f.mode), Size: int64(len(data)), ModTime: when, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
			if err := archive.WriteHeader(header); err != nil {
				return err
			}
			if _, err := archive.Write(data); err != nil {
				return err
			}
		}
		return errors.Join(archive.Close(), compressed.Close())
	})
}

// writeZip does the same for systems on which zip is usual.
func writeZip(path string, files []file, when time.Time) error {
	return create(path, func(out io.Writer) error {
		archive := zip.NewWriter(out)
		for _, f := range files {
			data, err := os.ReadFile(f.path)
			if err != nil {
				return err
			}
			header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: when}
			header.SetMode(f.mode)
			entry, err := archive.CreateHeader(header)
			if err != nil {
				return err
			}
			if _, err := entry.Write(data); err != nil {
				return err
			}
		}
		return archive.Close()
	})
}

// unpack writes the files of a compressed archive below a folder, and returns them sorted by their names.
func unpack(path, dir string) ([]file, error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	decompressed, err := gzip.NewReader(opened)
	if err != nil {
		return nil, err
	}
	var files []file
	for archive := tar.NewReader(decompressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag != tar.TypeReg || !filepath.IsLocal(header.Name) {
			return nil, fmt.Errorf("%s is no file below the archive's root", header.Name)
		}
		f := file{header.Name, filepath.Join(dir, header.Name), 0o644}
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return nil, err
		}
		if err := create(f.path, func(out io.Writer) error {
			_, err := io.Copy(out, archive)
			return err
		}); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// create writes a file, and reports what goes wrong up to its end.
func create(path string, write func(io.Writer) error) error {
	opened, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(opened), opened.Close())
}
