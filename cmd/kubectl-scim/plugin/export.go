package plugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// transferFlags are those that export and import share.
type transferFlags struct {
	scim   scimFlags
	app    string
	format string
}

func (f *transferFlags) addTo(s *session, command *cobra.Command) {
	f.scim.addTo(command)
	command.Flags().StringVar(&f.app, "app", "", "App of the users; empty: the only one of the namespace")
	command.Flags().StringVar(&f.format, "format", "", "csv or jsonl; empty: by the name of the file, else jsonl")
	_ = command.RegisterFlagCompletionFunc("app", s.completeApps(0))
	_ = command.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatCSV, formatJSONL}, cobra.ShellCompDirectiveNoFileComp))
}

// prepare finds the App and makes the client, and settles the format by the file's name.
func (f *transferFlags) prepare(ctx context.Context, s *session, file string) (*v1alpha1.App, *scimClient, error) {
	if f.format == "" {
		f.format = formatJSONL
		if strings.EqualFold(filepath.Ext(file), ".csv") {
			f.format = formatCSV
		}
	}
	if f.format != formatCSV && f.format != formatJSONL {
		return nil, nil, fmt.Errorf("--format %s: want csv or jsonl", f.format)
	}
	var names []string
	if f.app != "" {
		names = []string{f.app}
	}
	apps, err := s.apps(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	if len(apps) != 1 {
		return nil, nil, fmt.Errorf("%d Apps in namespace %s: name one with --app", len(apps), s.namespace)
	}
	scim, err := s.scimFor(ctx, &apps[0], &f.scim)
	return &apps[0], scim, err
}

func newExport(s *session) *cobra.Command {
	f := &transferFlags{}
	var filter, file string
	command := &cobra.Command{
		Use:   "export",
		Short: "Write an App's users as CSV or JSON lines",
		Long: `Write an App's users as CSV or JSON lines, as import reads them.

It reads by SCIM over HTTP, with a token of the App. JSON lines hold everything
that a client could write. CSV has the usual columns, one primary email, and
the attributes that the App declares; cells that a spreadsheet would run as a
formula begin with a quotation mark.`,
		Example: `  kubectl scim export > users.jsonl
  kubectl scim export --filter 'active eq true' --file users.csv`,
		Args: cobra.NoArgs,
		RunE: s.run(func(ctx context.Context, _ []string) error {
			app, scim, err := f.prepare(ctx, s, file)
			if err != nil {
				return err
			}
			if file == "" {
				return s.export(ctx, s.Out, scim, columnsFor(app), f.format, filter)
			}
			return writeWhole(file, func(out io.Writer) error { return s.export(ctx, out, scim, columnsFor(app), f.format, filter) })
		}),
	}
	f.addTo(s, command)
	command.Flags().StringVar(&filter, "filter", "", "SCIM filter; empty: all users")
	command.Flags().StringVar(&file, "file", "", "file to write, only its owner may read it; empty: standard output")
	return command
}

// writeWhole writes a file that is there as a whole or not at all, and that its owner alone reads.
func writeWhole(path string, write func(io.Writer) error) error {
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }() // after a success there is none
	buffered := bufio.NewWriter(part)
	if err := write(buffered); err != nil {
		_ = part.Close()
		return err
	}
	if err := buffered.Flush(); err != nil {
		_ = part.Close()
		return err
	}
	if err := part.Close(); err != nil {
		return err
	}
	return os.Rename(part.Name(), path)
}

func (s *session) export(ctx context.Context, out io.Writer, scim *scimClient, header []string, format, filter string) error {
	table := csv.NewWriter(out)
	if format == formatCSV {
		if err := table.Write(header); err != nil {
			return err
		}
	}
	bar := s.newProgress("exported", 0)
	err := scim.each(ctx, filter, func(total int, attributes map[string]any) error {
		bar.total = total
		for _, name := range notImported {
			delete(attributes, name)
		}
		bar.add()
		if format == formatCSV {
			cells := make([]string, len(header))
			for i, column := range header {
				cells[i] = guarded(cellOf(attributes, column))
			}
			return table.Write(cells)
		}
		line, err := json.Marshal(attributes)
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		return err
	})
	bar.end()
	if err != nil {
		return err
	}
	table.Flush()
	return table.Error()
}

// scimPage is how many users one request asks for: as many as the server gives at most.
const scimPage = 1000

// each visits the users of the App, page by page, with how many there are. Pages go by cursor: users that are created or
// deleted meanwhile shift no other.
func (c *scimClient) each(ctx context.Context, filter string, visit func(total int, attributes map[string]any) error) error {
	query := url.Values{"count": {fmt.Sprint(scimPage)}, "cursor": {""}}
	if filter != "" {
		query.Set("filter", filter)
	}
	for {
		list := &scimList{}
		if err := c.do(ctx, http.MethodGet, "/Users?"+query.Encode(), nil, list); err != nil {
			return err
		}
		for _, raw := range list.Resources {
			decoder := json.NewDecoder(bytes.NewReader(raw))
			decoder.UseNumber()
			var attributes map[string]any
			if err := decoder.Decode(&attributes); err != nil {
				return err
			}
			if err := visit(list.TotalResults, attributes); err != nil {
				return err
			}
		}
		if list.NextCursor == "" {
			return nil
		}
		query.Set("cursor", list.NextCursor)
	}
}
