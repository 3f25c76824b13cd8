// Package picture draws a dashboard as an SVG from the results of its queries, for pages about it: what Grafana shows, without Grafana.
package picture

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Point is a value at a time, in seconds since 1970.
type Point struct{ At, Value float64 }

// Series is one line of a panel.
type Series struct {
	Legend string
	Points []Point
}

// Panel is a chart at its place in the grid of 24 columns. Row is a heading; Stat shows last values in place of lines.
type Panel struct {
	Title, Unit         string
	X, Y, Width, Height int
	Row, Stat           bool
	Series              []Series
}

const (
	// column and line are the size of the grid in pixels.
	column, line = 50, 30
	gap, pad     = 8, 12
	// axis is the room left of a chart for its scale, legendLine the height of a line below it.
	axis, legendLine = 52, 15
	// legends of a panel that are shown; the rest is counted.
	legends = 4
)

// colours are told apart also without seeing colour, in this order.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#5b5b5b", "#b2182b"}

const style = `<style>
  svg { --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --box: #ffffff; --back: #f6f8fa; }
  @media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --box: #151b23; --back: #0d1117; } }
  text { fill: var(--ink); font-size: 12px; } .soft { fill: var(--soft); font-size: 11px; } .row { font-weight: 600; font-size: 15px; }
  .stat { font-size: 34px; font-weight: 600; text-anchor: middle; } .end { text-anchor: end; }
  .back { fill: var(--back); } .box { fill: var(--box); stroke: var(--line); } .grid { stroke: var(--line); } polyline { fill: none; stroke-width: 1.6; }
</style>
`

// SVG draws panels with the values from one time to another. title says what the picture shows.
func SVG(title string, panels []Panel, from, to float64) string {
	height := 0
	for _, p := range panels {
		height = max(height, (p.Y+p.Height)*line)
	}
	d := &drawing{from: from, to: to}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif">
<title id="title">%s</title>
%s<rect class="back" width="%d" height="%d"/>
`, 24*column, height+gap, escaped(title), style, 24*column, height+gap)
	for _, p := range panels {
		d.panel(p)
	}
	d.WriteString("</svg>\n")
	return d.String()
}

type drawing struct {
	strings.Builder
	from, to float64
}

func (d *drawing) text(class string, x, y int, text string) {
	fmt.Fprintf(d, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, x, y, escaped(text))
}

// panel draws one panel. The series with the highest peaks come first, so that the legend names them.
func (d *drawing) panel(p Panel) {
	p.Series = slices.SortedStableFunc(slices.Values(p.Series), func(a, b Series) int { return cmp.Compare(b.peak(), a.peak()) })
	x, y, width, height := p.X*column+gap/2, p.Y*line+gap/2, p.Width*column-gap, p.Height*line-gap
	if p.Row {
		d.text("row", x+4, y+17, p.Title)
		return
	}
	fmt.Fprintf(d, `<rect class="box" x="%d" y="%d" width="%d" height="%d" rx="4"/>`+"\n", x, y, width, height)
	d.text("", x+pad, y+19, p.Title)
	if p.Stat {
		last := 0.0
		for _, s := range p.Series {
			last = s.Points[len(s.Points)-1].Value
		}
		d.text("stat", x+width/2, y+height/2+18, Value(last, p.Unit))
		return
	}
	shown := min(len(p.Series), legends)
	d.chart(p, x+axis, y+32, width-axis-pad, height-32-20-legendLine*((shown+1)/2)-8)
	for i, s := range p.Series[:shown] {
		left, top := x+pad+i%2*(width/2-pad), y+height-8-legendLine*((shown+1)/2-1-i/2)
		fmt.Fprintf(d, `<rect x="%d" y="%d" width="10" height="3" fill="%s"/>`, left, top-5, colours[i%len(colours)])
		name := s.Legend
		if i == legends-1 && len(p.Series) > legends {
			name = fmt.Sprintf("%s, and %d more", name, len(p.Series)-legends)
		}
		d.text("soft", left+14, top, clip(name, (width/2-pad-20)/6))
	}
}

// chart draws the lines of a panel with a scale from zero.
func (d *drawing) chart(p Panel, x, y, width, height int) {
	top := 0.0
	for _, s := range p.Series {
		top = max(top, s.peak())
	}
	top = ceiling(top, p.Unit)
	for i := range 3 {
		at := y + height - i*height/2
		fmt.Fprintf(d, `<path class="grid" d="M%d %dh%d"/>`, x, at, width)
		d.text("soft end", x-6, at+4, Value(top*float64(i)/2, p.Unit))
	}
	d.text("soft", x, y+height+14, "0 s")
	d.text("soft end", x+width, y+height+14, fmt.Sprintf("%.0f s", d.to-d.from))
	for i, s := range slices.Backward(p.Series) {
		var points strings.Builder
		for _, point := range s.Points {
			fmt.Fprintf(&points, "%.1f,%.1f ", float64(x)+(point.At-d.from)/(d.to-d.from)*float64(width), float64(y+height)-point.Value/top*float64(height))
		}
		fmt.Fprintf(d, `<polyline stroke="%s" points="%s"/>`+"\n", colours[i%len(colours)], strings.TrimSpace(points.String()))
	}
}

func (s Series) peak() (highest float64) {
	for _, point := range s.Points {
		highest = max(highest, point.Value)
	}
	return highest
}

// ceiling is the next round number from a value on: 1, 2 or 5 times a power of ten; of bytes, a power of two.
func ceiling(value float64, unit string) float64 {
	switch {
	case value <= 0:
		return 1
	case unit == "bytes":
		return math.Exp2(math.Ceil(math.Log2(value)))
	}
	power := math.Pow(10, math.Floor(math.Log10(value)))
	for _, factor := range []float64{1, 2, 5} {
		if value <= factor*power {
			return factor * power
		}
	}
	return 10 * power
}

// Value is a number with the unit that a panel names, as Grafana calls it.
func Value(value float64, unit string) string {
	number := func(value float64) string {
		digits := 0
		if size := math.Abs(value); size > 0 && size < 100 {
			digits = max(0, 2-int(math.Ceil(math.Log10(size)-1e-9)))
		}
		text := fmt.Sprintf("%.*f", min(digits, 4), value)
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text
	}
	switch unit {
	case "bytes":
		for _, name := range []string{"B", "KiB", "MiB"} {
			if value < 1024 {
				return number(value) + " " + name
			}
			value /= 1024
		}
		return number(value) + " GiB"
	case "s":
		if value > 0 && value < 1 {
			return number(1000*value) + " ms"
		}
		return number(value) + " s"
	case "reqps":
		return number(value) + "/s"
	case "percentunit":
		return number(100*value) + " %"
	case "d", "h":
		return number(value) + " " + unit
	}
	return number(value)
}

func clip(text string, length int) string {
	if letters := []rune(text); len(letters) > length {
		return string(letters[:length-1]) + "…"
	}
	return text
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
