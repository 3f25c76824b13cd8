package main

import (
	"bufio"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// architecture is the document with the table of rooms.
const architecture = "docs/architecture.md"

// module begins the import paths of the project's own packages.
const module = "github.com/scim-operator/scim-operator/"

// roofs are folders that may import every room, and that no room may import.
var roofs = []string{"hack", "test"}

var (
	quoted   = regexp.MustCompile("`([^`]+)`")
	braces   = regexp.MustCompile(`\{([^}]*)\}`)
	codeFile = regexp.MustCompile("`([\\w./-]+\\.go)`(?: \\(((?:`[\\w.]+`(?:, )?)+)\\))?")
)

// room is one row of the table: packages, and what they stand on. With all set that is everything above them but standsOn.
type room struct {
	packages, standsOn []string
	all                bool
}

// isAt says whether an import path is a package of the room, or below one that is generated from it.
func (r room) isAt(imported string) bool {
	return slices.ContainsFunc(r.packages, func(p string) bool { return imported == p || p == "api/v1alpha1" && strings.HasPrefix(imported, p+"/") })
}

// stands says whether the room may import a path. The table names it as a whole, by its folder, or by its last elements.
func (r room) stands(imported string) bool {
	isNamed := slices.ContainsFunc(r.standsOn, func(name string) bool {
		return imported == name || strings.HasPrefix(imported, name+"/") || strings.HasSuffix(imported, "/"+name)
	})
	return r.isAt(imported) || isNamed != r.all
}

// readRooms reads the table. It fails where the document has none.
func readRooms(root string) ([]room, error) {
	file, err := os.Open(filepath.Join(root, architecture))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var rooms []room
	inside := false
	for lines := bufio.NewScanner(file); lines.Scan(); {
		cells := strings.Split(lines.Text(), "|")
		switch {
		case strings.HasPrefix(lines.Text(), "## "):
			inside = lines.Text() == "## Rooms"
		case inside && len(cells) == 5 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`"):
			rooms = append(rooms, room{packages: names(cells[1]), standsOn: names(cells[3]), all: strings.Contains(cells[3], "all of the above")})
		}
	}
	if len(rooms) == 0 {
		return nil, errors.New(architecture + " has no table of rooms")
	}
	return rooms, nil
}

// names returns what stands in backquotes, with {a,b} spelled out.
func names(cell string) (found []string) {
	for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
		list := braces.FindStringSubmatchIndex(match[1])
		if list == nil {
			found = append(found, match[1])
			continue
		}
		for name := range strings.SplitSeq(match[1][list[2]:list[3]], ",") {
			found = append(found, match[1][:list[0]]+name+match[1][list[1]:])
		}
	}
	return found
}

// checkRooms compares the imports of all packages with the table: each stands in a row, imports rows above its own only, and
// of these what its row names. It fails where the table or a file cannot be read.
func checkRooms(root string, files []string) (problems []string, err error) {
	rooms, err := readRooms(root)
	if err != nil {
		return nil, err
	}
	level := func(p string) int {
		return slices.IndexFunc(rooms, func(r room) bool { return r.isAt(p) })
	}
	set := token.NewFileSet()
	for _, file := range files {
		here := path.Dir(filepath.ToSlash(file))
		if strings.HasSuffix(file, "_test.go") || slices.Contains(roofs, strings.Split(here, "/")[0]) {
			continue
		}
		parsed, err := parser.ParseFile(set, filepath.Join(root, file), nil, parser.ImportsOnly)
		if err != nil {
			return nil, err
		}
		at := level(here)
		if at < 0 {
			problems = append(problems, fmt.Sprintf("%s: no row of Rooms in %s is about %s", file, architecture, here))
			continue
		}
		problems = append(problems, checkImports(file, parsed, rooms, at, level)...)
	}
	return problems, nil
}

func checkImports(file string, parsed *ast.File, rooms []room, at int, level func(string) int) (problems []string) {
	for _, specification := range parsed.Imports {
		full, _ := strconv.Unquote(specification.Path.Value)
		imported, isOwn := strings.CutPrefix(full, module)
		if !isOwn || rooms[at].isAt(imported) {
			continue
		}
		switch to := level(imported); {
		case to < 0:
			problems = append(problems, fmt.Sprintf("%s: imports %s, which is no room", file, imported))
		case to > at:
			problems = append(problems, fmt.Sprintf("%s: imports %s, which stands above it", file, imported))
		case !rooms[at].stands(imported):
			problems = append(problems, fmt.Sprintf("%s: imports %s, which its row does not allow", file, imported))
		}
	}
	return problems
}

// checkPlaces finds what the document says stands in a file: the file, and the functions in brackets behind it. It fails where
// a file cannot be read.
func checkPlaces(root string, files []string) (problems []string, err error) {
	text, err := os.ReadFile(filepath.Join(root, architecture))
	if err != nil {
		return nil, err
	}
	for _, match := range codeFile.FindAllStringSubmatch(string(text), -1) {
		var source strings.Builder
		for _, file := range files {
			if slash := filepath.ToSlash(file); slash == match[1] || strings.HasSuffix(slash, "/"+match[1]) {
				data, err := os.ReadFile(filepath.Join(root, file))
				if err != nil {
					return nil, err
				}
				source.Write(data)
			}
		}
		if source.Len() == 0 {
			problems = append(problems, fmt.Sprintf("%s: there is no file %s", architecture, match[1]))
			continue
		}
		for _, name := range names(match[2]) {
			name = name[strings.LastIndex(name, ".")+1:]
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + name + `\b`).MatchString(source.String()) {
				problems = append(problems, fmt.Sprintf("%s: %s has no function %s", architecture, match[1], name))
			}
		}
	}
	return problems, nil
}
