package token

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestNewIsRandomAndWellFormed(t *testing.T) {
	form := regexp.MustCompile(`^scim_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`)
	seen := map[string]bool{}
	for range 100 {
		token, err := New()
		if err != nil {
			t.Fatal(err)
		}
		if !form.MatchString(token) {
			t.Fatalf("%d characters of another form", len(token))
		}
		if body := token[:len(token)-7]; token[len(token)-6:] != checksum(body) {
			t.Fatal("the checksum does not fit the token")
		}
		if seen[token] {
			t.Fatal("the same token twice")
		}
		seen[token] = true
	}
}

func TestDigest(t *testing.T) {
	// The SHA-256 of "abc" is in FIPS 180-2, appendix B.1.
	const abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := Digest("abc"); got != abc {
		t.Errorf("Digest(abc) = %s, want %s", got, abc)
	}
	if !Equal(Digest("abc"), abc) || Equal(Digest("abd"), abc) {
		t.Error("Equal does not tell digests apart")
	}
}

// Every single error of typing is told, a token that the client brought is none, and a digest is not one either.
func TestIsMistyped(t *testing.T) {
	text, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if IsMistyped(text) || IsMistyped("abc") || IsMistyped(Digest(text)) || IsMistyped("") {
		t.Error("what is no typing error counts as one")
	}
	for i := len("scim_"); i < len(text); i++ {
		for _, wrong := range []string{text[:i], text[:i] + text[i+1:], text[:i] + "-" + text[i+1:], text[:i] + other(text[i]) + text[i+1:]} {
			if !IsMistyped(wrong) {
				t.Fatalf("an error at %d of %d is not told", i, len(text))
			}
		}
	}
}

// other returns another letter.
func other(c byte) string {
	if c == 'x' {
		return "y"
	}
	return "x"
}

// The pattern that docs/tokens.md gives to secret scanners finds tokens, and no text that is shorter.
func TestThePatternForScannersFindsTokens(t *testing.T) {
	page, err := os.ReadFile("../../docs/tokens.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\\bscim_.*$`).FindString(string(page))
	if found == "" {
		t.Fatal("docs/tokens.md has no pattern")
	}
	pattern := regexp.MustCompile(found)
	for range 100 {
		token, err := New()
		if err != nil {
			t.Fatal(err)
		}
		if pattern.FindString("token="+token+"\n") != token {
			t.Errorf("%s does not find a token", pattern)
		}
		if pattern.MatchString(token[:len(token)-1]) {
			t.Errorf("%s finds what is no token", pattern)
		}
	}
}

func TestIsDigest(t *testing.T) {
	digits := strings.Repeat("0123456789abcdef", 4)
	for text, want := range map[string]bool{
		DigestPrefix + digits: true, Digest("x"): true,
		digits: false, "sha512:" + digits: false, DigestPrefix: false, "": false, DigestPrefix + digits[1:]: false, DigestPrefix + digits + "0": false,
		DigestPrefix + strings.ToUpper(digits): false, DigestPrefix + "g" + digits[1:]: false, " " + DigestPrefix + digits: false,
	} {
		if got := IsDigest(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestID(t *testing.T) {
	for digest, want := range map[string]string{DigestPrefix + "0123456789": "01234567", "0123456789": "01234567", DigestPrefix + "01234567": "01234567", DigestPrefix + "0123456": "", "": ""} {
		if got := ID(digest); got != want {
			t.Errorf("%q: %q, want %q", digest, got, want)
		}
	}
}
