package plugin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// output is the flag -o of one command.
type output struct {
	format    string
	noHeaders bool
	allowed   []string
}

const (
	formatJSON = "json"
	formatYAML = "yaml"
	formatWide = "wide"
	formatName = "name"
)

// addTo adds -o with the formats that the command has.
func (o *output) addTo(command *cobra.Command, allowed ...string) {
	o.allowed = allowed
	command.Flags().StringVarP(&o.format, "output", "o", "", "output format: "+strings.Join(allowed, "|"))
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
	if slices.Contains(allowed, formatWide) {
		command.Flags().BoolVar(&o.noHeaders, "no-headers", false, "print tables without headers")
	}
	run := command.RunE
	command.RunE = func(command *cobra.Command, args []string) error {
		if o.format != "" && !slices.Contains(o.allowed, o.format) {
			return fmt.Errorf("-o %s: want %s", o.format, strings.Join(o.allowed, ", "))
		}
		return run(command, args)
	}
}

// isTable says whether people read the output, not programs.
func (o *output) isTable() bool { return o.format == "" || o.format == formatWide }

// console is the streams of a run, and how people and programs read what it prints.
type console struct{ genericiooptions.IOStreams }

// printTable prints a table as kubectl does. What objects hold is escaped: a client may have sent control characters.
func (c *console) printTable(o *output, table *metav1.Table) error {
	printer := printers.NewTablePrinter(printers.PrintOptions{Wide: o.format == formatWide, NoHeaders: o.noHeaders, WithNamespace: false})
	writer := printers.GetNewTabWriter(c.Out)
	if err := printer.PrintObj(table, writer); err != nil {
		return err
	}
	return writer.Flush()
}

// printValue prints a value that is no object of the API server as JSON or YAML.
func (c *console) printValue(o *output, value any) error {
	text, err := json.MarshalIndent(value, "", "    ")
	if err != nil {
		return err
	}
	if o.format == formatYAML {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return err
		}
		_, err = c.Out.Write(text)
		return err
	}
	_, err = fmt.Fprintln(c.Out, string(text))
	return err
}

// printObjects prints objects as kubectl get does, with json, yaml or name: one by itself, several as a List.
func (s *session) printObjects(o *output, objects []client.Object) error {
	raw := make([]runtime.RawExtension, len(objects))
	for i, object := range objects {
		if err := s.setKind(object); err != nil {
			return err
		}
		object.SetManagedFields(nil)
		raw[i].Object = object
	}
	if o.format == formatName {
		printer := &printers.NamePrinter{}
		for _, object := range objects {
			if err := printer.PrintObj(object, s.Out); err != nil {
				return err
			}
		}
		return nil
	}
	var shown runtime.Object = &metav1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, Items: raw}
	if len(objects) == 1 {
		shown = objects[0]
	}
	if o.format == formatYAML {
		return (&printers.YAMLPrinter{}).PrintObj(shown, s.Out)
	}
	return (&printers.JSONPrinter{}).PrintObj(shown, s.Out)
}

// setKind gives a typed object the kind that the client took away.
func (s *session) setKind(object client.Object) error {
	kind, err := s.client.GroupVersionKindFor(object)
	if err == nil {
		object.GetObjectKind().SetGroupVersionKind(kind)
	}
	return err
}

// columns makes the head of a table. A name that begins with + is shown with -o wide only.
func columns(names ...string) *metav1.Table {
	table := &metav1.Table{}
	for _, name := range names {
		column := metav1.TableColumnDefinition{Name: strings.TrimPrefix(name, "+"), Type: "string"}
		if strings.HasPrefix(name, "+") {
			column.Priority = 1
		}
		table.ColumnDefinitions = append(table.ColumnDefinitions, column)
	}
	return table
}

func addRow(table *metav1.Table, cells ...any) {
	table.Rows = append(table.Rows, metav1.TableRow{Cells: cells})
}

const (
	green  = "32"
	yellow = "33"
	red    = "31"
)

// colour wraps text where the output is a terminal that shows colours.
func (c *console) colour(code, text string) string {
	if !printers.AllowsColorOutput(c.Out) {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// say prints a line for people. The arguments are escaped, the format is not.
func (c *console) say(format string, args ...any) {
	for i, arg := range args {
		if text, isText := arg.(string); isText {
			args[i] = escape(text)
		}
	}
	_, _ = fmt.Fprintf(c.Out, format+"\n", args...)
}

// note prints a line on standard error.
func (c *console) note(format string, args ...any) {
	_, _ = fmt.Fprintln(c.ErrOut, escape(fmt.Sprintf(format, args...)))
}

// escape makes control characters, and those that turn the direction of writing, visible: names come from clients, and a
// terminal would obey them.
func escape(text string) string {
	if !strings.ContainsFunc(text, isHazard) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if isHazard(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isHazard(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
}

func gvk(kind string) schema.GroupVersionKind { return v1alpha1.GroupVersion.WithKind(kind) }

// conditionOf returns a condition's status, reason and message, all empty where the object has none of the type.
func conditionOf(conditions []metav1.Condition, kind string) metav1.Condition {
	if found := meta.FindStatusCondition(conditions, kind); found != nil {
		return *found
	}
	return metav1.Condition{Type: kind}
}
