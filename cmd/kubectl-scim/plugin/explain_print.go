package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// printExplanation prints for people; -o json and yaml have the same in a stable form.
func (c *console) printExplanation(e *explanation) error {
	c.say("User        %s%s", e.UserName, inBrackets(e.DisplayName))
	c.say("Object      users.%s/%s in namespace %s", v1alpha1.GroupName, e.Name, e.Namespace)
	c.say("App         %s%s", e.App, inBrackets(e.Mode))
	c.say("Kubernetes  %s", cmp.Or(e.KubernetesUsername, "-"))
	code := green
	if e.State != v1alpha1.ReasonActive {
		code = yellow
	}
	c.say("State       %s", mark{c.colour(code, e.State)})
	if e.Ready != "" {
		c.say("Ready       %s", e.Ready)
	}
	if !e.Current {
		c.say("%s", mark{c.colour(yellow, "The controller has not looked at the last change yet: what follows may be out of date.")})
	}
	if err := c.printRoles(e); err != nil {
		return err
	}
	c.printMissing(e)
	c.printResidual(e)
	if len(e.Facts) > 0 {
		c.say("\nWhat happened, the latest first")
		for _, fact := range e.Facts {
			c.say("  %s  %s", fact.Time.UTC().Format(time.RFC3339), fact.Text)
		}
	}
	return nil
}

func (c *console) printRoles(e *explanation) error {
	if len(e.Roles) == 0 {
		c.say("\nThe user holds no role.")
		return nil
	}
	c.say("\nRoles")
	names := []string{"ROLE", "SCOPE", "BOUND", "WHERE", "GRANTS", "WHY"}
	ends := slices.ContainsFunc(e.Roles, func(role heldRole) bool { return role.Until != nil })
	if ends {
		names = slices.Insert(names, 3, "UNTIL")
	}
	table := columns(names...)
	held := 0
	for _, role := range e.Roles {
		cells := []any{"  " + role.Role, role.Scope, role.Bound, role.Where, joined(role.Grants), strings.Join(role.Reasons, "; ")}
		if ends {
			cells = slices.Insert(cells, 3, any(until(role.Until)))
		}
		addRow(table, cells...)
		if role.Held {
			held++
		}
	}
	table.ColumnDefinitions[0].Name = "  ROLE"
	if err := c.printTable(&output{}, table); err != nil {
		return err
	}
	if held > 0 {
		c.say("\n%d of them are held by the App's spec.safety and not earned any more. Release all that the App holds:", held)
		c.say(`  kubectl annotate sapp -n %s %s --overwrite %s="$(date +%%s)"`, e.Namespace, e.App, v1alpha1.AnnotationReleaseRemovals)
	}
	return nil
}

func (c *console) printMissing(e *explanation) {
	if len(e.Ended) > 0 {
		c.say("\nEnded; a later end gives it back")
	}
	for _, ended := range e.Ended {
		c.say("  %s in %s: %s", ended.Role, ended.Scope, until(ended.Until))
	}
	if len(e.Missing) > 0 {
		c.say("\nMissing")
	}
	for _, missing := range e.Missing {
		what := ""
		switch {
		case missing.Role != "" && missing.Scope != "":
			what = fmt.Sprintf("%s in %s: ", missing.Role, missing.Scope)
		case missing.Role != "" || missing.Scope != "":
			what = missing.Role + missing.Scope + ": "
		}
		c.say("  %s%s", what, missing.Why)
	}
	if len(e.NotEarned) > 0 {
		c.say("\nNot earned, and what earns it")
	}
	for _, other := range e.NotEarned {
		c.say("  %s: %s", other.Role, strings.Join(other.EarnedBy, "; or "))
	}
}

func (c *console) printResidual(e *explanation) {
	if e.ResidualCount == 0 {
		return
	}
	c.say("\n%s", mark{c.colour(red, fmt.Sprintf("Residual access: %d bindings still name the user", e.ResidualCount))})
	for _, residual := range e.ResidualAccess {
		by := "by other hands"
		if residual.App != "" {
			by = "of App " + residual.App
		}
		name := residual.Name
		if residual.Namespace != "" {
			name = residual.Namespace + "/" + name
		}
		c.say("  %s %s: %s for %s, %s", residual.Kind, name, residual.Role, residual.Subject, by)
	}
	if more := int(e.ResidualCount) - len(e.ResidualAccess); more > 0 {
		c.say("  and %d more", more)
	}
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}
