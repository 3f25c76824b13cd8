// Command style fails on what the project's style asks and no linter of golangci-lint sees: an exported function that returns an
// error while its comment tells nothing of it, words that name no subject, types with too many methods, and a docs/architecture.md
// that tells otherwise than the imports and the files do.
//
//	go run ./hack/style .
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mostMethods is how many methods one type may have, those of tests included.
const mostMethods = 39

var (
	vague = regexp.MustCompile(`(?i)\b(somebody|nobody|everybody)\b`)
	// tells matches comments that say which errors there are, or that there are none.
	tells = regexp.MustCompile(`(?i)\b(errors?|fails?|refuses|nil|why)\b|\bErr[A-Z]|[a-z]Error\b|invalid[A-Z]`)
	// known are methods of interfaces that say themselves what their errors mean.
	known = []string{"Close", "Handle", "Read", "Reconcile", "RoundTrip", "ServeHTTP", "Start", "UnmarshalJSON", "MarshalJSON", "Unwrap", "WaitForSync", "Write"}
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	problems, err := checkTree(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

// checkTree returns what is wrong in the Go files below a folder. It fails where one cannot be read or parsed.
func checkTree(root string) ([]string, error) {
	files, err := goFiles(root)
	if err != nil {
		return nil, err
	}
	c := checker{files: token.NewFileSet(), methods: map[string]int{}}
	for _, file := range files {
		parsed, err := parser.ParseFile(c.files, filepath.Join(root, file), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		if !ast.IsGenerated(parsed) {
			c.check(file, parsed)
		}
	}
	for receiver, count := range c.methods {
		if count > mostMethods {
			c.problems = append(c.problems, fmt.Sprintf("%s has %d methods: split it by concern", receiver, count))
		}
	}
	if _, err := os.Stat(filepath.Join(root, architecture)); err == nil {
		for _, check := range []func(string, []string) ([]string, error){checkRooms, checkPlaces} {
			problems, err := check(root, files)
			if err != nil {
				return nil, err
			}
			c.problems = append(c.problems, problems...)
		}
	}
	slices.Sort(c.problems)
	return c.problems, nil
}

// goFiles returns the Go files below a folder by their paths in it. It fails where a folder cannot be read.
func goFiles(root string) (files []string, err error) {
	return files, fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (strings.HasPrefix(name, ".") || slices.Contains([]string{"bin", "node_modules", "testdata"}, name)):
			return fs.SkipDir
		case !entry.IsDir() && strings.HasSuffix(name, ".go"):
			files = append(files, path)
		}
		return nil
	})
}

type checker struct {
	files    *token.FileSet
	path     string
	methods  map[string]int
	problems []string
}

func (c *checker) add(at ast.Node, format string, arguments ...any) {
	position := c.files.Position(at.Pos())
	c.problems = append(c.problems, fmt.Sprintf("%s:%d: %s", c.path, position.Line, fmt.Sprintf(format, arguments...)))
}

func (c *checker) check(path string, file *ast.File) {
	c.path = path
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if word := vague.FindString(comment.Text); word != "" {
				c.add(comment, "%q in a comment: name the subject", word)
			}
		}
	}
	isTest := strings.HasSuffix(path, "_test.go")
	for _, declaration := range file.Decls {
		function, isFunction := declaration.(*ast.FuncDecl)
		if !isFunction {
			continue
		}
		receiver := receiverOf(function)
		if receiver != "" {
			c.methods[filepath.Dir(path)+": "+receiver]++
		}
		isExported := function.Name.IsExported() && (receiver == "" || ast.IsExported(receiver))
		if isTest || !isExported || !returnsError(function) || receiver != "" && slices.Contains(known, function.Name.Name) {
			continue
		}
		if !tells.MatchString(function.Doc.Text()) {
			c.add(function, "the comment of %s says nothing of its errors", function.Name.Name)
		}
	}
}

// receiverOf returns the name of a method's type; "" of a function.
func receiverOf(function *ast.FuncDecl) string {
	if function.Recv == nil || len(function.Recv.List) != 1 {
		return ""
	}
	expression := function.Recv.List[0].Type
	for {
		switch typed := expression.(type) {
		case *ast.StarExpr:
			expression = typed.X
		case *ast.IndexExpr:
			expression = typed.X
		case *ast.IndexListExpr:
			expression = typed.X
		case *ast.Ident:
			return typed.Name
		default:
			return ""
		}
	}
}

func returnsError(function *ast.FuncDecl) bool {
	if function.Type.Results == nil {
		return false
	}
	return slices.ContainsFunc(function.Type.Results.List, func(field *ast.Field) bool {
		name, isName := field.Type.(*ast.Ident)
		return isName && name.Name == "error"
	})
}
