package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/scim-operator/scim-operator/internal/names"
	"github.com/scim-operator/scim-operator/scimserver/directory"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

func newImport(s *session) *cobra.Command {
	f := &transferFlags{}
	yes := false
	command := &cobra.Command{
		Use:   "import FILE",
		Short: "Create and update an App's users from CSV or JSON lines",
		Long: `Create and update an App's users from CSV or JSON lines, - for standard input.

First it compares the file with what the server has and tells what would be
created, updated and deactivated. With --yes it does that. Attributes that the
file does not have stay as they are, and users that it does not have stay.

It works by SCIM over HTTP, with a token of the App. After Ctrl-C, or where
some lines were refused, the same command goes on where it ended: what is done
is found unchanged. Exit status 1: lines were refused, each is printed.`,
		Example: `  kubectl scim import users.csv
  kubectl scim import users.csv --yes`,
		Args: cobra.ExactArgs(1),
		RunE: s.run(func(ctx context.Context, args []string) error { return s.importFile(ctx, f, args[0], yes) }),
	}
	f.addTo(s, command)
	command.Flags().BoolVar(&yes, "yes", false, "do it; without it nothing is changed")
	return command
}

// importFile compares a file, or standard input, with what the server has, and writes the differences if it is told to.
func (s *session) importFile(ctx context.Context, f *transferFlags, file string, yes bool) error {
	app, scim, err := f.prepare(ctx, s, file)
	if err != nil {
		return err
	}
	in := s.In
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { _ = opened.Close() }()
		in = opened
	} else if f.scim.tokenFile == "-" {
		return fmt.Errorf("standard input is the file or the token, not both")
	}
	records, err := readRecords(in, f.format, app)
	if err != nil {
		return err
	}
	for _, name := range unknownAttributes(records, directory.SchemasOf(app)) {
		s.note("%s is no attribute of the App %s: the server keeps it, and nothing reads it", name, app.Name)
	}
	plan, err := scim.planFor(ctx, records)
	if err != nil {
		return err
	}
	s.showPlan(plan, yes)
	if !yes || len(plan.changes) == 0 {
		return nil
	}
	return s.carryOut(ctx, scim, plan)
}

// importChange is one user to create, or, with an id, to update by these attributes.
type importChange struct {
	record record
	id     string
	values map[string]any
}

type importPlan struct {
	changes                                  []importChange
	created, updated, unchanged, deactivated int
}

// planFor compares the records with what the server has.
func (c *scimClient) planFor(ctx context.Context, records []record) (*importPlan, error) {
	known := make(map[string]map[string]any)
	wanted := map[string]bool{}
	for _, r := range records {
		wanted[names.Fold(r.userName())] = true
	}
	if err := c.each(ctx, "", func(_ int, attributes map[string]any) error {
		if key := names.Fold(record{attributes: attributes}.userName()); wanted[key] {
			known[key] = attributes
		}
		return nil
	}); err != nil {
		return nil, err
	}
	plan := &importPlan{}
	for _, r := range records {
		existing := known[names.Fold(r.userName())]
		if existing == nil {
			plan.created++
			plan.changes = append(plan.changes, importChange{record: r, values: r.attributes})
			continue
		}
		values := differences(r.attributes, existing)
		if len(values) == 0 {
			plan.unchanged++
			continue
		}
		plan.updated++
		if active, says := values["active"].(bool); says && !active {
			plan.deactivated++
		}
		id, _ := existing["id"].(string)
		plan.changes = append(plan.changes, importChange{record: r, id: id, values: values})
	}
	return plan, nil
}

// differences returns the attributes that the server has not, or has otherwise. Of objects, such as name and extensions, it
// compares the members: what the file does not have stays.
func differences(wanted, existing map[string]any) map[string]any {
	differing := map[string]any{}
	for name, value := range wanted {
		if name == "schemas" {
			continue
		}
		had := lookup(existing, name)
		object, isObject := value.(map[string]any)
		hadObject, hadIsObject := had.(map[string]any)
		switch {
		case isObject && hadIsObject:
			if len(differences(object, hadObject)) > 0 {
				merged := maps.Clone(hadObject) // whatever replacing a complex attribute means to the server
				maps.Copy(merged, object)
				differing[name] = merged
			}
		case !same(value, had):
			differing[name] = value
		}
	}
	return differing
}

// lookup finds an attribute by its name in any letter case (RFC 7643 section 2.1).
func lookup(attributes map[string]any, name string) any {
	if value, found := attributes[name]; found {
		return value
	}
	for other, value := range attributes {
		if strings.EqualFold(other, name) {
			return value
		}
	}
	return nil
}

// same compares values as JSON does: 1 and 1.0 are one number however Go holds them.
func same(a, b any) bool { return reflect.DeepEqual(plain(a), plain(b)) }

func plain(value any) (result any) {
	encoded, err := json.Marshal(value)
	if err != nil || json.Unmarshal(encoded, &result) != nil {
		return value
	}
	return result
}

func (c *console) showPlan(plan *importPlan, yes bool) {
	c.say("%d users to create, %d to update, %d of these to deactivate, %d are as in the file", plan.created, plan.updated, plan.deactivated, plan.unchanged)
	const shown = 5
	for _, change := range plan.changes[:min(len(plan.changes), shown)] {
		what := "create"
		if change.id != "" {
			what = "update " + joined(slices.Sorted(maps.Keys(change.values))) + " of"
		}
		c.say("  line %d: %s %s", change.record.line, what, change.record.userName())
	}
	if more := len(plan.changes) - shown; more > 0 {
		c.say("  and %d more", more)
	}
	if !yes && len(plan.changes) > 0 {
		c.note("Nothing is changed. Add --yes to do it.")
	}
}

// carryOut sends the changes, several at once. It goes on after lines that are refused, and tells of each.
func (s *session) carryOut(ctx context.Context, scim *scimClient, plan *importPlan) error {
	bar := s.newProgress("done", len(plan.changes))
	var mutex sync.Mutex
	var refused []string
	done := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(transferWorkers)
	for _, change := range plan.changes {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := scim.apply(ctx, change)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			mutex.Lock()
			defer mutex.Unlock()
			bar.add()
			if err != nil {
				refused = append(refused, fmt.Sprintf("line %d: %s: %v", change.record.line, change.record.userName(), err))
				return giveUp(err)
			}
			done++
			return nil
		})
	}
	err := group.Wait()
	bar.end()
	for _, text := range refused {
		s.note("%s", text)
	}
	s.say("%d of %d changes done", done, len(plan.changes))
	switch {
	case err != nil:
		s.note("The same command goes on from here.")
		return err
	case len(refused) > 0:
		return errNo
	}
	return nil
}

// giveUp returns the error where it is not about one line: no connection, or a token that is refused.
func giveUp(err error) error {
	if errors.As(err, new(*leftOutError)) {
		return nil
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge} {
		if isStatus(err, status) {
			return nil
		}
	}
	return err
}

func (c *scimClient) apply(ctx context.Context, change importChange) error {
	if change.id == "" {
		if change.values["schemas"] == nil {
			change.values["schemas"] = []any{protocol.UserSchema}
		}
		err := c.do(ctx, http.MethodPost, "/Users", change.values, nil)
		if !isStatus(err, http.StatusConflict) {
			return err
		}
		// A request of a run that was interrupted may have made the user since the comparison.
		existing := map[string]any{}
		if findErr := c.findInto(ctx, change.record.userName(), &existing); findErr != nil || existing["id"] == nil {
			return errors.Join(err, findErr)
		}
		change.id, _ = existing["id"].(string)
		if change.values = differences(change.record.attributes, existing); len(change.values) == 0 {
			return nil
		}
	}
	answer := map[string]any{}
	err := c.do(ctx, http.MethodPatch, "/Users/"+change.id, map[string]any{
		"schemas":    []string{protocol.PatchOpSchema},
		"Operations": []any{map[string]any{"op": "replace", "value": change.values}},
	}, &answer)
	if left := differences(change.values, answer); err == nil && change.values["active"] == false && len(left) > 0 {
		return &leftOutError{slices.Sorted(maps.Keys(left))}
	}
	return err
}

// leftOutError says that the server took active: false of a line, and refuses other attributes in it.
type leftOutError struct{ names []string }

func (e *leftOutError) Error() string {
	return fmt.Sprintf("deactivated; the server refuses the rest of the line, and left out %s", joined(e.names))
}
