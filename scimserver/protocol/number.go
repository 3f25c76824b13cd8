package protocol

import (
	"cmp"
	"encoding/json"
	"math"
	"strconv"
)

// maxNumberLength bounds a number's text, in bytes. float64 and int64 need 25.
const maxNumberLength = 64

// number is a JSON number, exact where it is an int64.
type number struct {
	integer int64
	exact   bool
	float   float64
}

func numberOf(v any) (number, bool) {
	switch v := v.(type) {
	case json.Number:
		return parseNumber(string(v))
	case float64:
		return number{float: v}, true
	case int64:
		return number{integer: v, exact: true, float: float64(v)}, true
	case int:
		return number{integer: int64(v), exact: true, float: float64(v)}, true
	default:
		return number{}, false
	}
}

// parseNumber reads a number in JSON's grammar. It fails beyond the range of float64.
func parseNumber(text string) (number, bool) {
	if len(text) > maxNumberLength || !isNumber(text) {
		return number{}, false
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return number{integer: i, exact: true, float: float64(i)}, true
	}
	f, err := strconv.ParseFloat(text, 64)
	return number{float: f}, err == nil && !math.IsInf(f, 0)
}

func compareNumbers(a, b number) int {
	if a.exact && b.exact {
		return cmp.Compare(a.integer, b.integer)
	}
	return cmp.Compare(a.float, b.float)
}

// asInteger gives the number as an integer's text, where it is one.
func (n number) asInteger() (json.Number, bool) {
	if n.exact {
		return json.Number(strconv.FormatInt(n.integer, 10)), true
	}
	// Beyond 2^53 a float64 no longer tells neighbouring integers apart.
	if n.float != math.Trunc(n.float) || math.Abs(n.float) > 1<<53 {
		return "", false
	}
	return json.Number(strconv.FormatInt(int64(n.float), 10)), true
}

// isNumber reports whether text is a number in the grammar of RFC 8259 section 6.
func isNumber(text string) bool {
	rest := text
	if rest != "" && rest[0] == '-' {
		rest = rest[1:]
	}
	digits := countDigits(rest)
	if digits == 0 || digits > 1 && rest[0] == '0' {
		return false
	}
	rest = rest[digits:]
	if rest != "" && rest[0] == '.' {
		digits = countDigits(rest[1:])
		if digits == 0 {
			return false
		}
		rest = rest[1+digits:]
	}
	if rest != "" && (rest[0] == 'e' || rest[0] == 'E') {
		rest = rest[1:]
		if rest != "" && (rest[0] == '+' || rest[0] == '-') {
			rest = rest[1:]
		}
		digits = countDigits(rest)
		return digits > 0 && digits == len(rest)
	}
	return rest == ""
}

func countDigits(text string) int {
	n := 0
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	return n
}

// text is the number in JSON's grammar, such that parseNumber gives the same number.
func (n number) text() json.Number {
	if n.exact {
		return json.Number(strconv.FormatInt(n.integer, 10))
	}
	return json.Number(strconv.FormatFloat(n.float, 'g', -1, 64))
}
