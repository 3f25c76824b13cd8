// Command promtool (of this folder; the tool of the same name is Prometheus' own) runs queries by Prometheus' engine over scrapes.
//
// It reads DIR/<seconds>-<instance>.txt, each a scrape in the text format at that time, and a query a line on standard input, and prints for each
// query how many series with a number it returns at the time of the last scrape.
package main

import (
	"bufio"
	"context"
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
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: promtool DIR < queries")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
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
	var last int64
	for _, file := range files { // by name, and so by time
		at, instance, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txt"), "-")
		if last, err = strconv.ParseInt(at, 10, 64); err != nil {
			return err
		}
		if err := load(ctx, db, file, last, instance); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, EnableAtModifier: true})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		query, err := engine.NewInstantQuery(ctx, db, nil, lines.Text(), time.Unix(last, 0))
		if err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
		result := query.Exec(ctx)
		vector, err := result.Vector()
		if err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
		count := 0
		for _, sample := range vector {
			if !math.IsNaN(sample.F) {
				count++
			}
		}
		fmt.Println(count)
		query.Close()
	}
	return nil
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
		var series labels.Labels
		parser.Labels(&series)
		_, _, value := parser.Series()
		series = labels.NewBuilder(series).Set("instance", instance).Labels()
		if _, err := appender.Append(0, series, seconds*1000, value); err != nil {
			return err
		}
	}
}
