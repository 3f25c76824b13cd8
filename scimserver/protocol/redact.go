package protocol

import (
	"fmt"
	"strings"
)

// redacted replaces a value that must not be logged.
const redacted = "[redacted]"

// RedactJSON returns a request body as it may be logged. It masks, at any depth, the value of every key that looks like a
// credential, and the value of a PATCH operation with a path that ends in such a name. What is not JSON becomes a
// placeholder, because nothing tells where a secret stands in it. Keys come back sorted.
func RedactJSON(body []byte) []byte {
	value, err := parseJSON(body)
	if err != nil {
		return appendString(nil, fmt.Sprintf("[%d bytes, not JSON]", len(body)))
	}
	return appendValue(make([]byte, 0, len(body)), redact(value))
}

func redact(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if isCredential(key) {
				v[key] = redacted
			} else {
				v[key] = redact(value)
			}
		}
		if _, path, _ := member(v, "path"); path != nil {
			if text, ok := path.(string); ok && isCredential(text) {
				if key, _, ok := member(v, "value"); ok {
					v[key] = redacted
				}
			}
		}
	case []any:
		for i, element := range v {
			v[i] = redact(element)
		}
	}
	return v
}

var credentialWords = []string{
	"password", "passwd", "passphrase", "secret", "token", "credential", "authorization", "x509", "apikey", "privatekey",
}

// isCredential reports whether a key or a path contains a word for a credential, in any spelling.
func isCredential(name string) bool {
	name = strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(name))
	for _, word := range credentialWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	return strings.HasSuffix(name, "pwd")
}
