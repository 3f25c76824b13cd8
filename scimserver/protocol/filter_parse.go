package protocol

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// filterParser is a recursive-descent parser for FILTER and valFilter of RFC 7644 figure 1. Beyond the RFC it takes unquoted
// words as values, a sub-attribute after a value filter, and operators and literals in any letter case.
type filterParser struct {
	text  string
	at    int // byte offset
	depth int
	// inPath: the filter stands in a PATCH path, so that an error is invalidPath.
	inPath bool
	// inValue: inside "[ ]".
	inValue bool
}

// ParseFilter parses a filter. Errors are invalidFilter with the position of the character and what was expected there.
func ParseFilter(text string) (*Filter, error) {
	if len(text) > MaxFilterLength {
		return nil, InvalidFilter("the filter has %d bytes: at most %d are taken", len(text), MaxFilterLength)
	}
	p := filterParser{text: text}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.skipSpace(); p.at < len(text) {
		return nil, p.expected("and, or, or the end of the filter")
	}
	return &Filter{root: root}, nil
}

// parseValueFilter parses what stands between '[' and ']' in a PATCH path, from the byte after '['. end is after the ']'.
func parseValueFilter(path string, start int) (f *Filter, end int, err error) {
	p := filterParser{text: path, at: start, inPath: true, inValue: true, depth: 1}
	root, err := p.or()
	if err != nil {
		return nil, 0, err
	}
	if p.skipSpace(); !p.take(']') {
		return nil, 0, p.expected("and, or, or ']'")
	}
	return &Filter{root: root}, p.at, nil
}

// position counts characters from 1.
func position(text string, at int) int { return utf8.RuneCountInString(text[:at]) + 1 }

func (p *filterParser) expected(what string) error { return p.expectedAt(p.at, what) }

func (p *filterParser) expectedAt(at int, what string) error {
	if p.inPath {
		return InvalidPath("character %d of the path: expected %s", position(p.text, at), what)
	}
	return InvalidFilter("character %d of the filter: expected %s", position(p.text, at), what)
}

func (p *filterParser) skipSpace() {
	for p.at < len(p.text) && isSpace(p.text[p.at]) {
		p.at++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func (p *filterParser) take(c byte) bool {
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// peekWord returns the characters up to the next space, bracket, parenthesis or quote.
func (p *filterParser) peekWord() string {
	p.skipSpace()
	rest := p.text[p.at:]
	if end := strings.IndexAny(rest, " \t\r\n()[]\""); end >= 0 {
		return rest[:end]
	}
	return rest
}

// takeKeyword consumes the word if it is the keyword, in any letter case.
func (p *filterParser) takeKeyword(keyword string) bool {
	word := p.peekWord()
	if len(word) != len(keyword) || !strings.EqualFold(word, keyword) {
		return false
	}
	p.at += len(word)
	return true
}

// enter counts nesting; leave it with p.depth--.
func (p *filterParser) enter() error {
	if p.depth++; p.depth > MaxFilterNesting {
		return p.expected(fmt.Sprintf("no more than %d levels of nesting", MaxFilterNesting))
	}
	return nil
}

func (p *filterParser) or() (expression, error)  { return p.chain("or", p.and) }
func (p *filterParser) and() (expression, error) { return p.chain("and", p.term) }

func (p *filterParser) chain(keyword string, operand func() (expression, error)) (expression, error) {
	var terms []expression
	for {
		term, err := operand()
		if err != nil {
			return nil, err
		}
		terms = append(terms, term)
		if !p.takeKeyword(keyword) {
			return joined(terms, keyword == "and"), nil
		}
	}
}

func (p *filterParser) term() (expression, error) {
	if p.takeKeyword("not") {
		if p.skipSpace(); p.at < len(p.text) && p.text[p.at] == '(' {
			inner, err := p.group()
			return negation{inner}, err
		}
		// Only an attribute could be called "not", and none is.
		return nil, p.expected("'(' after not")
	}
	if p.skipSpace(); p.at < len(p.text) && p.text[p.at] == '(' {
		return p.group()
	}
	return p.attributeTerm()
}

func (p *filterParser) group() (expression, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	p.at++ // the parenthesis
	inner, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.skipSpace(); !p.take(')') {
		return nil, p.expected("and, or, or ')'")
	}
	p.depth--
	return inner, nil
}

func (p *filterParser) attributeTerm() (expression, error) {
	word := p.peekWord()
	start := p.at
	if !validReference(word) {
		return nil, p.expected("an attribute name, not, or '('")
	}
	p.at += len(word)
	attribute := reference{written: word, inPath: p.inPath, position: position(p.text, start)}
	if p.at < len(p.text) && p.text[p.at] == '[' {
		if p.inValue {
			return nil, p.expected("an operator: a value filter cannot contain another")
		}
		return p.valueFilter(attribute)
	}
	return p.comparison(attribute)
}

// validReference reports whether a word can name an attribute: [URN ":"] name ["." sub]. What follows a URN is for bind.
func validReference(word string) bool {
	if urn, name := qualifier(word); urn != "" {
		return strings.IndexByte(urn, ':') > 0 && name != "" && strings.Trim(name, attributeCharacters) == ""
	}
	name, sub, hasSub := strings.Cut(word, ".")
	return validName(name) && (!hasSub || validName(sub))
}

const attributeCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_$."

func (p *filterParser) valueFilter(attribute reference) (expression, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	p.at++ // the bracket
	p.inValue = true
	inner, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.skipSpace(); !p.take(']') {
		return nil, p.expected("and, or, or ']'")
	}
	p.inValue = false
	p.depth--
	if !p.take('.') {
		return valueFilter{attribute: attribute, term: inner}, nil
	}
	// emails[type eq "work"].value eq "x": one element satisfies both.
	if p.at < len(p.text) && isSpace(p.text[p.at]) {
		return nil, p.expected("a sub-attribute")
	}
	word := p.peekWord()
	if !validName(word) {
		return nil, p.expected("a sub-attribute")
	}
	sub := reference{written: word, inPath: p.inPath, position: position(p.text, p.at)}
	p.at += len(word)
	last, err := p.comparison(sub)
	if err != nil {
		return nil, err
	}
	return valueFilter{attribute: attribute, term: conjunction{[]expression{inner, last}}}, nil
}

// comparison parses an operator, and a value where it takes one.
func (p *filterParser) comparison(attribute reference) (expression, error) {
	operator := strings.ToLower(p.peekWord())
	switch operator {
	case "pr":
		p.at += len(operator)
		return present{attribute}, nil
	case "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le":
		p.at += len(operator)
	default:
		return nil, p.expected("an operator: eq, ne, co, sw, ew, pr, gt, ge, lt or le")
	}
	value, err := p.value()
	if err != nil {
		return nil, err
	}
	return comparison{attribute, operator, value}, nil
}

func (p *filterParser) value() (literal, error) {
	p.skipSpace()
	if p.at < len(p.text) && p.text[p.at] == '"' {
		return p.quoted()
	}
	start, word := p.at, p.peekWord()
	if strings.HasPrefix(word, "'") {
		// Read as a bare word it would match nothing, and the client would create what is there.
		return literal{}, p.expectedAt(start, "a value in double quotes")
	}
	p.at += len(word)
	if word == "" || p.at < len(p.text) && strings.IndexByte("\"([", p.text[p.at]) >= 0 {
		return literal{}, p.expectedAt(start, "a value")
	}
	switch strings.ToLower(word) {
	case "and", "or", "not", "pr":
		return literal{}, p.expectedAt(start, "a value; put it in quotes if it is one")
	case "true", "false":
		return literal{kind: literalBoolean, text: strings.ToLower(word)}, nil
	case "null":
		return literal{kind: literalNull}, nil
	}
	if isNumber(word) {
		return literal{kind: literalNumber, text: word}, nil
	}
	return literal{kind: literalString, text: strings.ToValidUTF8(word, "\ufffd")}, nil
}

func (p *filterParser) quoted() (literal, error) {
	start := p.at
	for p.at++; p.at < len(p.text); p.at++ {
		switch p.text[p.at] {
		case '\\':
			p.at++
		case '"':
			p.at++
			var text string
			if json.Unmarshal([]byte(p.text[start:p.at]), &text) != nil {
				return literal{}, p.expectedAt(start, "a valid JSON string")
			}
			if p.at < len(p.text) && !isSpace(p.text[p.at]) && p.text[p.at] != ')' && p.text[p.at] != ']' {
				return literal{}, p.expected("a space after the value")
			}
			return literal{kind: literalString, text: text}, nil
		}
	}
	p.at = len(p.text)
	return literal{}, p.expectedAt(start, "a string that ends with '\"'")
}
