package picture

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestValues(t *testing.T) {
	for _, test := range []struct {
		value      float64
		unit, want string
	}{
		{0, "none", "0"}, {3, "none", "3"}, {2.5, "none", "2.5"}, {1234, "none", "1234"}, {0.0412, "s", "41 ms"}, {0.25, "s", "250 ms"}, {2, "s", "2 s"},
		{1536, "bytes", "1.5 KiB"}, {104857600, "bytes", "100 MiB"}, {3 << 30, "bytes", "3 GiB"}, {0.5, "percentunit", "50 %"}, {0.2, "reqps", "0.2/s"}, {1.9, "d", "1.9 d"},
	} {
		if got := Value(test.value, test.unit); got != test.want {
			t.Errorf("%v of %s is shown as %q, want %q", test.value, test.unit, got, test.want)
		}
	}
	for value, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 1.1: 2, 4: 5, 7: 10, 80: 100} {
		if got := ceiling(value, "none"); got < want*0.999 || got > want*1.001 {
			t.Errorf("a scale up to %v ends at %v, want %v", value, got, want)
		}
	}
}

func TestScaleOfBytes(t *testing.T) {
	if got := Value(ceiling(90_000, "bytes"), "bytes"); got != "128 KiB" {
		t.Errorf("a scale up to 90,000 bytes ends at %s", got)
	}
}

func TestSVG(t *testing.T) {
	svg := SVG(`a <title> & "more"`, []Panel{
		{Title: "Row", Row: true, Width: 24, Height: 1},
		{Title: "Number", Stat: true, Y: 1, Width: 8, Height: 7, Series: []Series{{Points: []Point{{0, 1}, {10, 7}}}}},
		{Title: "Lines", Unit: "s", X: 8, Y: 1, Width: 8, Height: 7, Series: []Series{{"one <x>", []Point{{0, 0.1}, {10, 0.4}}}, {"two", []Point{{5, 0}}}}},
	}, 0, 10)
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, svg)
		}
	}
	for _, text := range []string{">7</text>", "one &lt;x&gt;", "500 ms", ">Row</text>", "10 s"} {
		if !strings.Contains(svg, text) {
			t.Errorf("the picture has no %s:\n%s", text, svg)
		}
	}
	if lines := strings.Count(svg, "<polyline"); lines != 2 {
		t.Errorf("%d lines", lines)
	}
}
