//go:build promtool

package observe_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/scim-operator/scim-operator/hack/dashboard/picture"
	"github.com/scim-operator/scim-operator/hack/localoperator"
	okta "github.com/scim-operator/scim-operator/test/okta/client"
	"github.com/scim-operator/scim-operator/test/okta/harness"
)

// dashboardPanel is a panel of docs/dashboard.json.
type dashboardPanel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ Expr, LegendFormat string }
}

// filmed has people come and go in two Apps for a while, and scrapes both processes each second. It returns the directory of the scrapes,
// and when the first and the last one were.
func filmed(t *testing.T, length time.Duration) (dir string, from, to int64) {
	t.Helper()
	dir = t.TempDir()
	staff := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "staff", nil)
	partners := operator.NewApp(t, operator.Server, operator.Env.Namespace(t, nil), "partners", nil)
	clients := map[string]*okta.Client{}
	for _, app := range []harness.App{staff, partners} {
		clients[app.Name] = operator.Client(operator.Server, "/scim/v2", app, okta.AppWizard)
	}
	var here []*okta.Assignment
	for begun, i := time.Now(), 0; time.Since(begun) < length; i++ {
		for name, process := range map[string]*localoperator.Process{"server": operator.Server, "controller": operator.Controller} {
			to = time.Now().Unix()
			if from == 0 {
				from = to
			}
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d-%s.txt", to, name)), []byte(scrape(t, process, "text/plain")), 0o600))
		}
		next := time.Now().Add(time.Second)
		one := okta.Assign(okta.NewProfile(fmt.Sprintf("film.%d@example.com", i)))
		_, err := clients["staff"].AssignUser(t.Context(), one)
		must(t, err)
		here = append(here, one)
		if i%3 == 2 {
			_, err := clients["staff"].Deactivate(t.Context(), here[0])
			must(t, err)
			here = here[1:]
		}
		if i%4 == 3 {
			_, err := clients["partners"].AssignUser(t.Context(), okta.Assign(okta.NewProfile(fmt.Sprintf("partner.%d@example.com", i))))
			must(t, err)
		}
		time.Sleep(time.Until(next))
	}
	return dir, from, to
}

// Every panel of the dashboard is drawn from what its queries return of the running processes. SCREENSHOTS=DIR keeps the picture, of a
// longer scene.
func TestPanelsAreDrawn(t *testing.T) {
	lively().play(t)
	length, keep := 12*time.Second, os.Getenv("SCREENSHOTS")
	if keep != "" {
		length = 2 * time.Minute
	}
	dir, from, to := filmed(t, length)
	raw, err := os.ReadFile("../../docs/dashboard.json")
	must(t, err)
	var dashboard struct{ Panels []dashboardPanel }
	must(t, json.Unmarshal(raw, &dashboard))
	panels := drawn(t, dashboard.Panels, dir)
	lines := 0
	for _, p := range panels {
		for _, s := range p.Series {
			lines += min(len(s.Points), 1)
		}
	}
	svg := picture.SVG("The dashboard, drawn from the results of its queries", panels, float64(from), float64(to))
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
	if lines < 30 {
		t.Errorf("%d lines in %d panels", lines, len(panels))
	}
	if keep != "" {
		must(t, os.WriteFile(filepath.Join(keep, "dashboard.svg"), []byte(svg), 0o600))
	}
}

// drawn runs the queries of all panels over the scrapes.
func drawn(t *testing.T, dashboard []dashboardPanel, dir string) (panels []picture.Panel) {
	t.Helper()
	var queries []string
	for _, panel := range dashboard {
		for _, target := range panel.Targets {
			queries = append(queries, strings.NewReplacer("$__rate_interval", "10s", "$namespace", ".*", "$app", ".*").Replace(target.Expr))
		}
	}
	command := exec.CommandContext(t.Context(), "go", "run", "-C", "../../hack/tools/promtool", "-tags", "remove_all_sd", ".", dir, "1")
	command.Stdin = strings.NewReader(strings.Join(queries, "\n") + "\n")
	var complaints strings.Builder
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	answers := json.NewDecoder(strings.NewReader(string(output)))
	for _, panel := range dashboard {
		at := panel.GridPos
		p := picture.Panel{
			Title: panel.Title, Unit: panel.FieldConfig.Defaults.Unit, X: at.X, Y: at.Y, Width: at.W, Height: at.H,
			Row: panel.Type == "row", Stat: panel.Type == "stat",
		}
		for _, target := range panel.Targets {
			var series []struct {
				Labels map[string]string
				Points [][2]float64
			}
			must(t, answers.Decode(&series))
			for _, one := range series {
				s := picture.Series{Legend: legendOf(target.LegendFormat, one.Labels)}
				for _, point := range one.Points {
					s.Points = append(s.Points, picture.Point{At: point[0], Value: point[1]})
				}
				p.Series = append(p.Series, s)
			}
		}
		panels = append(panels, p)
	}
	return panels
}

var (
	labelInLegend = regexp.MustCompile(`\{\{(\w+)\}\}`)
	// testNamespace is what the test's own namespaces are called: the picture shows the Apps' names alone.
	testNamespace = regexp.MustCompile(`test-[a-z0-9]+/`)
)

func legendOf(format string, labels map[string]string) string {
	text := labelInLegend.ReplaceAllStringFunc(format, func(found string) string { return labels[strings.Trim(found, "{}")] })
	return testNamespace.ReplaceAllString(text, "")
}
