package protocol

import (
	"strings"

	"github.com/scim-operator/scim-operator/internal/datetime"
	"github.com/scim-operator/scim-operator/internal/names"
)

// prepared decides how the comparison is made, from the attribute's type, and refuses what has no meaning.
func (c comparison) prepared() (literal, error) {
	l, a := c.value, c.attribute.compared()
	ordering := c.operator != "eq" && c.operator != "ne"
	substring := c.operator == "co" || c.operator == "sw" || c.operator == "ew"
	if l.kind == literalNull {
		if ordering {
			return l, c.attribute.fail("%s cannot compare with null", c.operator)
		}
		return l, nil
	}
	l.folded = names.Fold(l.text)
	l.number, _ = parseNumber(l.text)
	l.boolean = strings.EqualFold(l.text, "true")
	if a == nil {
		l.compare = compareDynamic
		if l.kind == literalBoolean && ordering {
			return l, c.attribute.fail("%s cannot compare booleans", c.operator)
		}
		return l, nil
	}
	var ok bool
	switch a.Type {
	case TypeBoolean:
		l.compare = compareBoolean
		if ordering {
			return l, c.attribute.fail("%s cannot compare booleans", c.operator)
		}
		if _, err := coerceBoolean(l.json()); err != nil {
			return l, c.attribute.fail("expected true or false")
		}
		l.boolean = strings.EqualFold(strings.TrimSpace(l.text), "true")
	case TypeInteger, TypeDecimal:
		l.compare = compareNumber
		if substring {
			return l, c.attribute.fail("%s cannot compare numbers", c.operator)
		}
		if l.number, ok = numericValue(l.json()); !ok {
			return l, c.attribute.fail("expected a number")
		}
	case TypeDateTime:
		l.compare = compareTime
		if substring {
			l.compare = compareFolded
		} else if l.time, ok = datetime.Parse(l.text); !ok {
			return l, c.attribute.fail("expected a date and time as in 2011-05-13T04:42:34Z")
		}
	case TypeBinary:
		l.compare = compareExact
		if ordering && !substring {
			return l, c.attribute.fail("%s cannot compare binary values", c.operator)
		}
	default:
		l.compare = compareFolded
		if a.CaseExact {
			l.compare = compareExact
		}
	}
	return l, nil
}

func (c comparison) matches(subject any) bool {
	if c.value.kind == literalNull {
		return c.attribute.any(subject, isPresent) == (c.operator == "ne")
	}
	if set, ok := c.attribute.memberSet(subject); ok && c.value.compare == compareExact && c.attribute.sub == "value" {
		if _, member := set.Member(c.value.text); c.operator == "eq" || c.operator == "ne" {
			return member == (c.operator == "eq")
		}
	}
	if c.operator == "ne" {
		return !c.attribute.any(subject, func(v any) bool { return c.value.holds("eq", v) })
	}
	return c.attribute.any(subject, func(v any) bool { return c.value.holds(c.operator, v) })
}

// holds reports whether "v operator literal" is true. A value of a type that cannot be compared is not a match.
func (l literal) holds(operator string, v any) bool {
	switch l.compare {
	case compareBoolean:
		b, err := coerceBoolean(v)
		return err == nil && b == l.boolean
	case compareNumber:
		n, ok := numericValue(v)
		return ok && ordered(operator, compareNumbers(n, l.number))
	case compareTime:
		s, _ := v.(string)
		t, ok := datetime.Parse(s)
		return ok && ordered(operator, t.Compare(l.time))
	case compareDynamic:
		return l.holdsDynamic(operator, v)
	case compareExact:
		s, err := coerceString(v)
		return err == nil && holdsString(operator, s.(string), l.text)
	default:
		return l.holdsFolded(operator, v)
	}
}

func (l literal) holdsFolded(operator string, v any) bool {
	value, err := coerceString(v)
	if err != nil {
		return false
	}
	s := value.(string)
	if operator == "eq" {
		return names.EqualFold(s, l.folded)
	}
	return holdsString(operator, names.Fold(s), l.folded)
}

// holdsDynamic compares by the type of the value found. An object in a list of an unknown attribute stands for its value.
func (l literal) holdsDynamic(operator string, v any) bool {
	switch v := v.(type) {
	case map[string]any:
		_, value, _ := member(v, "value")
		if _, nested := value.(map[string]any); nested || value == nil {
			return false
		}
		return l.holdsDynamic(operator, value)
	case bool:
		return operator == "eq" && v == l.boolean && (l.boolean || strings.EqualFold(l.text, "false"))
	case []any:
		for _, element := range v {
			if l.holdsDynamic(operator, element) {
				return true
			}
		}
		return false
	}
	if n, ok := numberOf(v); ok && isNumber(l.text) && operator != "co" && operator != "sw" && operator != "ew" {
		return ordered(operator, compareNumbers(n, l.number))
	}
	return l.holdsFolded(operator, v)
}

func holdsString(operator, s, literal string) bool {
	switch operator {
	case "co":
		return strings.Contains(s, literal)
	case "sw":
		return strings.HasPrefix(s, literal)
	case "ew":
		return strings.HasSuffix(s, literal)
	default:
		return ordered(operator, strings.Compare(s, literal))
	}
}

func ordered(operator string, order int) bool {
	switch operator {
	case "eq":
		return order == 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	case "le":
		return order <= 0
	default:
		return false
	}
}
