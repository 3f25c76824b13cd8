package okta_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Every command in docs/guides is typed here, in order, and must print what the page shows, but for what differs from run
// to run. `UPDATE_GUIDES=1 go test ./test/okta -run TestGuidePages` writes what is printed into the pages.
func TestGuidePages(t *testing.T) {
	pages, err := filepath.Glob(repository + "/docs/guides/*.md")
	must(t, err)
	if len(pages) < 5 {
		t.Fatalf("%d pages in docs/guides, want one for each guide", len(pages))
	}
	for _, path := range pages {
		name := strings.TrimSuffix(filepath.Base(path), ".md")
		if name == "README" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			g := follow(t, guide{name: name})
			for _, namespace := range directoriesOf(t, name) {
				g.clean(t, namespace) // the page begins with nothing
			}
			text, err := os.ReadFile(path)
			must(t, err)
			page := parsePage(string(text))
			if applied := "kubectl apply -f " + samplePath(name); !strings.Contains(page.commands(), applied) {
				t.Errorf("the page does not say %q", applied)
			}
			page.play(t, g)
			if os.Getenv("UPDATE_GUIDES") != "" {
				must(t, os.WriteFile(path, []byte(page.String()), 0o644))
			}
		})
	}
}

// page is a guide's page: prose, and in blocks of console the commands that are typed and what they print.
type page struct{ parts []*part }

// part is prose as it stands, or one command with its output.
type part struct{ prose, command, output string }

const (
	fenceBegin = "```console\n"
	fenceEnd   = "```"
	prompt     = "$ "
)

func parsePage(text string) *page {
	p := &page{}
	inside := false
	var current *part
	for line := range strings.Lines(text) {
		switch {
		case !inside || strings.HasPrefix(line, fenceEnd):
			inside = !inside && line == fenceBegin
			if current == nil || current.command != "" {
				current = &part{}
				p.parts = append(p.parts, current)
			}
			current.prose += line
		case strings.HasPrefix(line, prompt) && (current.command == "" || isWhole(current.command)):
			current = &part{command: strings.TrimPrefix(line, prompt)}
			p.parts = append(p.parts, current)
		case !isWhole(current.command):
			current.command += line
		default:
			current.output += line
		}
	}
	return p
}

// isWhole says whether a command ends where its line does: not in a quoted text, and not after a backslash.
func isWhole(command string) bool {
	return strings.Count(command, "'")%2 == 0 && !strings.HasSuffix(command, "\\\n")
}

func (p *page) commands() string {
	var b strings.Builder
	for _, part := range p.parts {
		b.WriteString(part.command)
	}
	return b.String()
}

func (p *page) String() string {
	var b strings.Builder
	for _, part := range p.parts {
		b.WriteString(part.prose)
		if part.command != "" {
			b.WriteString(prompt + part.command + part.output)
		}
	}
	return b.String()
}

// play types the commands, each in the shell that the one before left.
func (p *page) play(t *testing.T, g *guide) {
	state := filepath.Join(t.TempDir(), "state")
	must(t, os.WriteFile(state, nil, 0o600))
	for _, part := range p.parts {
		if part.command == "" {
			continue
		}
		printed, matches := "", false
		err := wait.PollUntilContextTimeout(t.Context(), 500*time.Millisecond, guidePatience, true, func(ctx context.Context) (bool, error) {
			before := printed
			output, err := g.typed(ctx, part.command, state)
			if err != nil && output == "" {
				return true, fmt.Errorf("%s: %w", part.command, err)
			}
			printed = output
			if os.Getenv("UPDATE_GUIDES") != "" {
				matches = true
				return before == printed && before != "" || !onlyLooks(part.command), nil
			}
			matches = alike(printed, part.output)
			return matches || !onlyLooks(part.command), nil
		})
		if !matches {
			t.Fatalf("%s%sprinted, error %v,\n%s, the page shows\n%s", prompt, part.command, err, printed, part.output)
		}
		part.output = serverAddress.ReplaceAllString(printed, "http://127.0.0.1:8085")
	}
}

// typed runs a command in a shell that has the variables and functions of those before.
func (g *guide) typed(ctx context.Context, command, state string) (string, error) {
	run := g.command(ctx, "exec bash -c \"$SCRIPT\"", "STATE="+state, "SCIM_URL="+operator.Server.URL+"/scim/v2",
		"SCRIPT=. \"$STATE\"\n"+strings.TrimSpace(command)+"\nstatus=$?; { declare -p TOKEN DIGEST SCIM_URL ID OTHER; declare -f; } >\"$STATE\" 2>/dev/null; exit $status")
	output, err := run.CombinedOutput()
	return string(output), err
}

// onlyLooks says whether a command can be typed again until everything has caught up with what was typed before.
func onlyLooks(command string) bool { return looks.MatchString(command) }

var (
	looks         = regexp.MustCompile(`^(kubectl (-n \S+ )?(get|auth) |(TOKEN=\S+ )?scim GET )`)
	serverAddress = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	// What differs from run to run.
	varies = []*regexp.Regexp{
		serverAddress,
		regexp.MustCompile(`-[a-z2-7]{10}\b`),                             // ids, and names made of hashes
		regexp.MustCompile(`scim-[a-z2-7]{20}`),                           // native bindings
		regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`),     // times
		regexp.MustCompile(`\b\d+[smh](\d+[sm])?(\s|$)`),                  // ages
		regexp.MustCompile(`"version":"[^,}]*"`),                          // versions
		regexp.MustCompile(`\b[0-9a-f]{8}\b`),                             // the beginnings of digests
		regexp.MustCompile(`(?m)\b(created|configured|unchanged)$`),       // what apply did to objects that stay
		regexp.MustCompile(`(?m) (condition met|patched \(no change\))$`), // what was so already
	}
	blanks = regexp.MustCompile(`[ \t]+`)
)

func alike(printed, shown string) bool { return invariable(printed) == invariable(shown) }

func invariable(text string) string {
	for _, pattern := range varies {
		text = pattern.ReplaceAllString(text, "~ ")
	}
	lines := strings.Split(strings.TrimSpace(blanks.ReplaceAllString(text, " ")), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
