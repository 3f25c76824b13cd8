// Command promtool (of this folder; the tool of the same name is Prometheus' own) runs queries by Prometheus' engine over scrapes.
//
// It reads DIR/<seconds>-<instance>.txt, each a scrape in the text format at that time, and a query a line on standard input. For each query it prints
// how many series with a number it returns at the time of the last scrape; or, with a second argument, a number of seconds, a line of JSON: its
// series from the first scrape to the last, in steps of so many seconds.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
)

func main() {
	step, err := 0, error(nil)
	if len(os.Args) == 3 {
		step, err = strconv.Atoi(os.Args[2])
	}
	if err != nil || len(os.Args) < 2 || len(os.Args) > 3 {
		fmt.Fprintln(os.Stderr, "usage: promtool DIR [STEP] < queries")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], time.Duration(step)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, step time.Duration) error {
	store, err := os.MkdirTemp("", "promtool")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(store) }()
	db, err := tsdb.Open(store, nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		return errors.Join(err, fmt.Errorf("%d scrapes in %s", len(files), dir))
	}
	var first, last int64
	for _, file := range files { // by name, and so by time
		at, instance, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txt"), "-")
		if last, err = strconv.ParseInt(at, 10, 64); err != nil {
			return err
		}
		if first == 0 {
			first = last
		}
		if err := load(ctx, db, file, last, instance); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, EnableAtModifier: true})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if step > 0 {
			err = printSeries(ctx, engine, db, lines.Text(), time.Unix(first, 0), time.Unix(last, 0), step)
		} else {
			err = printCount(ctx, engine, db, lines.Text(), time.Unix(last, 0))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
	}
	return nil
}

func printCount(ctx context.Context, engine *promql.Engine, db *tsdb.DB, text string, at time.Time) error {
	query, err := engine.NewInstantQuery(ctx, db, nil, text, at)
	if err != nil {
		return err
	}
	defer query.Close()
	vector, err := query.Exec(ctx).Vector()
	if err != nil {
		return err
	}
	count := 0
	for _, sample := range vector {
		if !math.IsNaN(sample.F) {
			count++
		}
	}
	fmt.Println(count)
	return nil
}

// series is one line of a range: its labels, and its values with their times in seconds.
type series struct {
	Labels map[string]string `json:"labels"`
	Points [][2]float64      `json:"points"`
}

func printSeries(ctx context.Context, engine *promql.Engine, db *tsdb.DB, text string, from, to time.Time, step time.Duration) error {
	query, err := engine.NewRangeQuery(ctx, db, nil, text, from, to, step)
	if err != nil {
		return err
	}
	defer query.Close()
	matrix, err := query.Exec(ctx).Matrix()
	if err != nil {
		return err
	}
	found := []series{}
	for _, line := range matrix {
		one := series{Labels: line.Metric.Map()}
		for _, point := range line.Floats {
			if !math.IsNaN(point.F) && !math.IsInf(point.F, 0) {
				one.Points = append(one.Points, [2]float64{float64(point.T) / 1000, point.F})
			}
		}
		if len(one.Points) > 0 {
			found = append(found, one)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// load appends one scrape's samples with the label instance.
func load(ctx context.Context, db *tsdb.DB, file string, seconds int64, instance string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parser := textparse.NewPromParser(raw, labels.NewSymbolTable(), false)
	appender := db.Appender(ctx)
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return appender.Commit()
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var names labels.Labels
		parser.Labels(&names)
		_, _, value := parser.Series()
		names = labels.NewBuilder(names).Set("instance", instance).Labels()
		if _, err := appender.Append(0, names, seconds*1000, value); err != nil {
			return err
		}
	}
}
