package plugin

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/names"
	"github.com/scim-operator/scim-operator/scimserver/protocol"
)

// Formats of files with users.
const (
	formatCSV   = "csv"
	formatJSONL = "jsonl"
)

// record is one user of a file: its SCIM attributes, and the line that it begins at.
type record struct {
	line       int
	attributes map[string]any
}

func (r record) userName() string {
	name, _ := r.attributes["userName"].(string)
	return name
}

// readRecords reads a whole file of users, and fails with the line where one cannot be used: no import begins with half a file.
func readRecords(in io.Reader, format string, app *v1alpha1.App) (records []record, err error) {
	if format == formatCSV {
		records, err = readCSV(in, app)
	} else {
		records, err = readJSONLines(in)
	}
	if err != nil {
		return nil, err
	}
	first := map[string]int{}
	for _, r := range records {
		key := names.Fold(r.userName())
		switch {
		case key == "":
			return nil, fmt.Errorf("line %d: a user without a userName", r.line)
		case first[key] > 0:
			return nil, fmt.Errorf("line %d: the userName %q is in line %d already", r.line, r.userName(), first[key])
		}
		first[key] = r.line
	}
	return records, nil
}

// notImported are the attributes that are the server's own.
var notImported = []string{"id", "meta", "groups", "password"}

func readJSONLines(in io.Reader) (records []record, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 4<<20)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		r := record{line: n}
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		err := decoder.Decode(&r.attributes)
		if err == nil && (r.attributes == nil || decoder.More()) {
			err = errors.New("want one object and nothing else")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d is no JSON object: %w", n, err)
		}
		for _, name := range notImported {
			delete(r.attributes, name)
		}
		records = append(records, r)
	}
	return records, lines.Err()
}

// csvColumns are those that export writes before the App's own attributes.
var csvColumns = []string{"userName", "externalId", "active", "displayName", "name.givenName", "name.familyName", "email", "title", "userType",
	protocol.EnterpriseUserSchema + ":department"}

func readCSV(in io.Reader, app *v1alpha1.App) (records []record, err error) {
	reader := csv.NewReader(in)
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("the header: %w", err)
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff") // as spreadsheets write it
	if !slices.Contains(header, "userName") {
		return nil, errors.New("the first line names no column userName")
	}
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := reader.FieldPos(0)
		r := record{line: line, attributes: map[string]any{"schemas": []any{protocol.UserSchema}}}
		for i, name := range header {
			if cells[i] == "" {
				continue // an empty cell says nothing of the attribute
			}
			if err := setCell(r.attributes, name, unguarded(cells[i]), app); err != nil {
				return nil, fmt.Errorf("line %d, column %s: %w", line, name, err)
			}
		}
		records = append(records, r)
	}
}

// setCell puts a cell where its column says: an attribute, a.b of a complex one, urn:…:a of an extension, or email.
func setCell(attributes map[string]any, column, cell string, app *v1alpha1.App) error {
	if column == "email" {
		attributes["emails"] = []any{map[string]any{"value": cell, "type": "work", "primary": true}}
		return nil
	}
	urn, name := "", column
	if i := strings.LastIndexByte(column, ':'); i >= 0 {
		urn, name = column[:i], column[i+1:]
		extension, isThere := attributes[urn].(map[string]any)
		if !isThere {
			extension = map[string]any{}
			attributes[urn] = extension
		}
		attributes = extension
	}
	if outer, inner, isSub := strings.Cut(name, "."); isSub {
		complexValue, isThere := attributes[outer].(map[string]any)
		if !isThere {
			complexValue = map[string]any{}
			attributes[outer] = complexValue
		}
		complexValue[inner] = cell
		return nil
	}
	value, err := typed(cell, typeOf(app, urn, name))
	attributes[name] = value
	return err
}

type csvType struct {
	name        string
	multiValued bool
}

// typeOf returns the type that the App declares for an attribute.
func typeOf(app *v1alpha1.App, urn, name string) csvType {
	if urn == "" && name == "active" {
		return csvType{name: "boolean"}
	}
	for i := range app.Spec.Attributes {
		if a := &app.Spec.Attributes[i]; strings.EqualFold(a.Name, name) && (isCore(a.Schema) && urn == "" || strings.EqualFold(a.Schema, urn)) {
			return csvType{a.Type, a.MultiValued}
		}
	}
	return csvType{}
}

func isCore(urn string) bool {
	return urn == "" || strings.HasPrefix(strings.ToLower(urn), "urn:ietf:params:scim:schemas:core:2.0")
}

func typed(cell string, of csvType) (any, error) {
	switch {
	case of.multiValued:
		var list []any
		if err := json.Unmarshal([]byte(cell), &list); err != nil {
			return nil, fmt.Errorf("want a JSON array: %w", err)
		}
		return list, nil
	case of.name == "boolean":
		switch strings.ToLower(cell) {
		case "true", "false":
			return strings.EqualFold(cell, "true"), nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", cell)
	case of.name == "integer" || of.name == "decimal":
		if _, err := strconv.ParseFloat(cell, 64); err != nil {
			return nil, fmt.Errorf("%q is no number", cell)
		}
		return json.Number(cell), nil
	}
	return cell, nil
}

// cellOf is the reverse of setCell.
func cellOf(attributes map[string]any, column string) string {
	if column == "email" {
		return primaryEmail(attributes)
	}
	name := column
	if i := strings.LastIndexByte(column, ':'); i >= 0 {
		name = column[i+1:]
		attributes, _ = attributes[column[:i]].(map[string]any)
	}
	if outer, inner, isSub := strings.Cut(name, "."); isSub {
		attributes, _ = attributes[outer].(map[string]any)
		name = inner
	}
	switch value := attributes[name].(type) {
	case nil:
		return ""
	case string:
		return value
	default:
		encoded, _ := json.Marshal(value) // it was decoded from JSON
		return string(encoded)
	}
}

func primaryEmail(attributes map[string]any) string {
	emails, _ := attributes["emails"].([]any)
	found := ""
	for _, email := range emails {
		object, _ := email.(map[string]any)
		value, _ := object["value"].(string)
		if primary, _ := object["primary"].(bool); primary || found == "" {
			found = value
		}
	}
	return found
}

// formulas begin cells that spreadsheets run. A quotation mark before them, which spreadsheets do not show, makes them text.
const formulas = "=+-@\t\r"

func guarded(cell string) string {
	if rest := strings.TrimLeft(cell, "'"); rest != "" && strings.IndexByte(formulas, rest[0]) >= 0 {
		return "'" + cell
	}
	return cell
}

func unguarded(cell string) string {
	if rest := strings.TrimLeft(cell, "'"); len(rest) < len(cell) && rest != "" && strings.IndexByte(formulas, rest[0]) >= 0 {
		return cell[1:]
	}
	return cell
}

// columnsFor are the columns of an App's export.
func columnsFor(app *v1alpha1.App) []string {
	list := slices.Clone(csvColumns)
	for i := range app.Spec.Attributes {
		name := app.Spec.Attributes[i].Name
		if urn := app.Spec.Attributes[i].Schema; !isCore(urn) {
			name = urn + ":" + name
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}
