// Command site looks at the built site: every link and anchor between its pages leads somewhere, and no page loads anything from
// elsewhere, so that it works without a network. make site calls it.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: site DIR")
		os.Exit(2)
	}
	s, err := read(os.DirFS(os.Args[1]))
	if err == nil {
		err = errors.Join(s.problems()...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d pages, %d links, nothing from elsewhere\n", len(s.pages), s.links())
}

// site is what was built.
type site struct {
	files map[string]bool
	pages map[string]*page
}

// page is what one page has: the ids of its elements, what it links to, and what a browser loads for it.
type page struct {
	ids           map[string]bool
	links, assets []string
}

func read(files fs.FS) (*site, error) {
	s := &site{files: map[string]bool{}, pages: map[string]*page{}}
	return s, fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		s.files[name] = true
		if filepath.Ext(name) != ".html" {
			return nil
		}
		opened, err := files.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = opened.Close() }()
		tree, err := html.Parse(opened)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p := &page{ids: map[string]bool{}}
		for node := range tree.Descendants() {
			p.take(node)
		}
		s.pages[name] = p
		return nil
	})
}

func (p *page) take(node *html.Node) {
	if node.Type != html.ElementNode {
		return
	}
	for _, attribute := range node.Attr {
		switch {
		case attribute.Key == "id":
			p.ids[attribute.Val] = true
		case attribute.Key == "href" && node.Data == "a":
			p.links = append(p.links, attribute.Val)
		case attribute.Key == "href", attribute.Key == "src", attribute.Key == "srcset", attribute.Key == "poster":
			p.assets = append(p.assets, attribute.Val)
		}
	}
}

func (s *site) links() (count int) {
	for _, page := range s.pages {
		count += len(page.links)
	}
	return count
}

// problems returns what is wrong, one error each, in the order of the pages' names.
func (s *site) problems() (all []error) {
	if len(s.pages) < 2 {
		return []error{fmt.Errorf("%d pages", len(s.pages))}
	}
	for name, page := range s.pages {
		for _, link := range page.links {
			if err := s.follow(name, link, true); err != nil {
				all = append(all, err)
			}
		}
		for _, asset := range page.assets {
			if err := s.follow(name, asset, false); err != nil {
				all = append(all, err)
			}
		}
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return all
}

// follow returns an error where a page's link leads nowhere. Only links may lead away from the site.
func (s *site) follow(from, link string, away bool) error {
	target, err := url.Parse(link)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if target.Scheme == "data" {
		return nil
	}
	if target.Scheme != "" || target.Host != "" {
		if !away {
			return fmt.Errorf("%s loads %s, which is elsewhere", from, link)
		}
		return nil
	}
	name := from
	switch {
	case strings.HasPrefix(target.Path, "/"):
		name = strings.TrimPrefix(target.Path, "/")
	case target.Path != "":
		name = path.Join(path.Dir(from), target.Path)
	}
	if name == "" || strings.HasSuffix(target.Path, "/") {
		name = path.Join(name, "index.html")
	}
	for _, candidate := range []string{name, name + ".html"} {
		if !s.files[candidate] {
			continue
		}
		if to := s.pages[candidate]; target.Fragment != "" && to != nil && !to.ids[target.Fragment] {
			return fmt.Errorf("%s: %s: no element has that id", from, link)
		}
		return nil
	}
	return fmt.Errorf("%s: %s: no such file", from, link)
}
