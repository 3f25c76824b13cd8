package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scim-operator/scim-operator/internal/names"
)

// defaultOperatorNamespace is where config/ and the chart's examples install the operator.
const defaultOperatorNamespace = "scim-operator-system"

// personCommands are the commands about all that objects hold of one person.
type personCommands struct {
	*session
	// operatorNamespace has the RevocationLists.
	operatorNamespace string
}

func newPerson(s *session) *cobra.Command {
	p := &personCommands{session: s}
	command := &cobra.Command{
		Use:   "person",
		Short: "Export or erase what the cluster holds about one person",
		Long: `Export or erase what the cluster holds about one person: for requests of access
and of erasure, as of the GDPR.

NAME is a userName, an externalId, an address, a Kubernetes user name, or the
name of a User. Users are looked for in the namespace, or in all with -A. What
else names the person is looked for in all namespaces that you may list.`,
	}
	command.PersistentFlags().StringVar(&p.operatorNamespace, "operator-namespace", defaultOperatorNamespace, "namespace of the RevocationLists")
	command.AddCommand(newPersonExport(p), newPersonErase(p))
	return command
}

func newPersonExport(p *personCommands) *cobra.Command {
	o := &output{}
	file := ""
	command := &cobra.Command{
		Use:   "export NAME...",
		Short: "Write all that objects hold about a person as JSON",
		Long: `Write all that objects hold about a person as JSON: their Users as a whole, their
groups, the Events about them, and each field of any other object that names
them: claims, bindings of this operator and of others, RevocationLists, the
records of people that they manage, Apps, tokens and connections.

Several NAMEs are names of one person. A name that no User has is looked for all
the same: after an erasure it shows whether anything is left. What could not be
looked at for want of rights is listed, with exit status 1. Logs, metrics,
backups and what other programs keep are not in it: docs/privacy.md.`,
		Example: `  kubectl scim person export jane@example.com --file jane.json
  kubectl scim person export jane@example.com jane-q7fhp337mm 00ujl29u0le5T6Aj10h7`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: p.completeUsers(0),
		RunE: p.run(func(ctx context.Context, args []string) error {
			d, err := p.gather(ctx, args)
			if err != nil {
				return err
			}
			if err := p.writeDossier(d, o, file); err != nil {
				return err
			}
			p.note("%s", d.summary())
			return p.noteGaps(d)
		}),
	}
	p.addAllNamespaces(command)
	o.addTo(command, formatJSON, formatYAML)
	command.Flags().StringVar(&file, "file", "", "file to write, only its owner may read it; empty: standard output")
	return command
}

func (p *personCommands) writeDossier(d *dossier, o *output, file string) error {
	if file == "" {
		return p.printValue(o, d)
	}
	return writeWhole(file, func(out io.Writer) error {
		to := p.console
		to.Out = out
		return to.printValue(o, d)
	})
}

// noteGaps tells what could not be looked at. The error is errNo where there is any: the answer is not complete.
func (p *personCommands) noteGaps(d *dossier) error {
	for _, gap := range d.NotSearched {
		p.note("Not looked at: %s: %s", gap.What, gap.Why)
	}
	if len(d.NotSearched) > 0 {
		return errNo
	}
	return nil
}

// shortestPart is the least length of a name that is looked for inside of longer texts. A shorter one must be the whole text.
const shortestPart = 6

// terms are the names of a person, folded. parts are looked for inside of texts, too; wholes must be all of a text. manager are names that
// other people may have, too: they must be all of a field of another user's manager.
type terms struct{ parts, wholes, manager map[string]bool }

// add takes in names that stand for one person.
func (t *terms) add(list ...string) {
	for _, name := range list {
		switch folded := names.Fold(name); {
		case len(folded) >= shortestPart:
			t.parts[folded] = true
		case folded != "":
			t.wholes[folded] = true
		}
	}
}

// addManager takes in a name by which another user's record may name its manager.
func (t *terms) addManager(name string) {
	if name != "" {
		t.manager[names.Fold(name)] = true
	}
}

// in says whether a text names the person.
func (t *terms) in(text string) bool {
	folded := names.Fold(text)
	if t.wholes[folded] || t.parts[folded] {
		return true
	}
	for part := range t.parts {
		if containsName(folded, part) {
			return true
		}
	}
	return false
}

// inField is in for the text of a field.
func (t *terms) inField(field, text string) bool {
	return t.in(text) || strings.Contains(field, ".manager.") && t.manager[names.Fold(text)]
}

// containsName says whether a text has a name that is no part of a longer name there: jane@example.com is not in
// mary.jane@example.com, and is in okta:jane@example.com.
func containsName(text, name string) bool {
	for from := 0; ; {
		at := strings.Index(text[from:], name)
		if at < 0 {
			return false
		}
		at += from
		end := at + len(name)
		if (at == 0 || !belongsToName(text[at-1])) && !continuesName(text[end:]) {
			return true
		}
		from = at + 1
	}
}

func belongsToName(c byte) bool {
	return isWord(c) || strings.IndexByte(".-_+@", c) >= 0
}

// continuesName says whether what follows a name makes it a longer one. A full stop does so only before a letter or digit.
func continuesName(rest string) bool {
	if rest == "" {
		return false
	}
	if rest[0] == '.' {
		return len(rest) > 1 && isWord(rest[1])
	}
	return belongsToName(rest[0])
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c >= 0x80
}

// place is one field of an object, such as spec.subjects[3].name, and its text.
type place struct {
	Field string `json:"field"`
	Text  string `json:"text"`
}

// placesIn finds the fields of a decoded JSON value that name the person, in the order of the alphabet. Where the name of a member
// does, its place has the member's value.
func placesIn(t *terms, at string, value any) (found []place) {
	switch value := value.(type) {
	case string:
		if t.inField(at, value) {
			found = append(found, place{at, value})
		}
	case []any:
		for i, element := range value {
			found = append(found, placesIn(t, fmt.Sprintf("%s[%d]", at, i), element)...)
		}
	case map[string]any:
		for _, name := range sortedKeys(value) {
			field := strings.TrimPrefix(at+"."+name, ".")
			if t.in(name) {
				found = append(found, place{field, textOf(value[name])})
				continue
			}
			found = append(found, placesIn(t, field, value[name])...)
		}
	}
	return found
}

func textOf(value any) string {
	if text, isText := value.(string); isText {
		return text
	}
	encoded, _ := json.Marshal(value) // it was decoded from JSON
	return string(encoded)
}

// compareMentions orders mentions by kind, namespace and name.
func compareMentions(a, b mention) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
