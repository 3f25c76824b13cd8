package protocol

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// filter makes a filter over the vocabulary of generator, which need not be one.
func (g generator) filter(depth int) string {
	switch g.IntN(6) {
	case 0:
		return g.name() + " pr"
	case 1:
		if depth > 0 {
			return fmt.Sprintf("(%s) %s not (%s)", g.filter(depth-1), pick(g, "and", "or"), g.filter(depth-1))
		}
	case 2:
		return fmt.Sprintf(`%s[%s %s %s]`, g.name(), pick(g, "value", "type", "primary"), pick(g, "eq", "ne"), g.scalar())
	}
	return fmt.Sprintf("%s %s %s", g.name(), pick(g, "eq", "ne", "co", "sw", "gt", "le"), g.scalar())
}

// TestRenderedIsAsGoodAsComplete holds what reads bytes against what reads resources.
func TestRenderedIsAsGoodAsComplete(t *testing.T) {
	s := fuzzSchemas(t)
	filters, keys := 0, 0
	for seed := range uint64(20000) {
		g := generator{rand.New(rand.NewPCG(seed, 3))}
		resource, err := s.DecodeUser([]byte(g.object(4)))
		if err != nil {
			resource = decode(t, s, pick(g, userSeeds...))
		}
		complete := s.Complete(resource, testMeta)
		rendered, err := s.Render(resource, testMeta, Projection{})
		if err != nil {
			t.Fatal(err)
		}
		read := ReadRendered(rendered)
		if encoded(read) != encoded(complete) {
			t.Fatalf("seed %d: read\n%s, want\n%s", seed, encoded(read), encoded(complete))
		}
		for _, name := range []string{"schemas", "id", "meta"} {
			delete(read, name)
		}
		back := Resource{Attributes: read, Containers: resource.Containers}
		if back.Unpack(); !reflect.DeepEqual(back.Attributes, resource.Attributes) {
			t.Fatalf("seed %d: of %s with %v came back\n%s, want\n%s", seed, rendered, resource.Containers, encoded(read), encoded(resource.Attributes))
		}
		text := g.filter(2)
		if parsed, err := ParseFilter(text); err == nil {
			if bound, err := parsed.Bind(s); err == nil {
				if scanner, ok := bound.Scanner(); ok {
					filters++
					// What was read before must not count.
					scanner.Matches([]byte(`{"title":"a","userName":"a","emails":[{"value":"a","type":"work"}]}`))
					if got, want := scanner.Matches(rendered), bound.Matches(complete); got != want {
						t.Fatalf("seed %d: %s over %s is %v, want %v", seed, text, rendered, got, want)
					}
				}
			}
		}
		by := g.name()
		if parsed, err := ParseSort(by, ""); err == nil {
			if bound, err := parsed.Bind(s); err == nil && !bound.IsZero() {
				if reader, ok := bound.Keys(); ok {
					keys++
					if got, want := reader.Of(rendered), bound.Key(complete); got != want {
						t.Fatalf("seed %d: the key by %s of %s is %v, want %v", seed, by, rendered, got, want)
					}
				}
			}
		}
	}
	if filters < 1000 || keys < 1000 {
		t.Errorf("only %d filters and %d keys were compared", filters, keys)
	}
}

func TestWhatBytesDoNotHave(t *testing.T) {
	s := testSchemas(t)
	for text, want := range map[string]bool{
		`userName co "a" and meta.created gt "2026-01-01T00:00:00Z"`: true, `META.lastModified pr`: true, `meta.resourceType eq "User"`: true,
		`groups pr`: false, `not (Groups.display eq "a")`: false, `groups[value eq "a"]`: false, `meta pr`: false,
		`title pr or meta.version pr`: false, `meta.location sw "https"`: false,
	} {
		parsed, err := ParseFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		bound, err := parsed.Bind(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := bound.Scanner(); ok != want {
			t.Errorf("%s can be answered by bytes: %v", text, ok)
		}
		if _, ok := parsed.Scanner(); ok {
			t.Errorf("%s is scanned unbound", text)
		}
	}
	for by, want := range map[string]bool{"meta.lastModified": true, "name.familyName": true, "groups": false, "meta.version": false} {
		if _, ok := bindSort(t, s, by, "").Keys(); ok != want {
			t.Errorf("%s can be taken from bytes: %v", by, ok)
		}
	}
	up, down := bindSort(t, s, "userName", ""), bindSort(t, s, "USERNAME", "descending")
	if up.Order() == down.Order() || up.Order() != bindSort(t, s, "UserName", "ascending").Order() {
		t.Error("orders are confused")
	}
}

func BenchmarkScanner(b *testing.B) {
	s := testSchemas(b)
	rendered, err := s.Render(decode(b, s, `{"userName":"ada@example.com","externalId":"00u1","active":true,"name":{"familyName":"Doe n1","givenName":"Ada"},`+
		`"displayName":"Ada Doe","locale":"en-US","emails":[{"value":"ada@example.com","type":"work","primary":true}]}`), testMeta, Projection{})
	if err != nil {
		b.Fatal(err)
	}
	parsed, err := ParseFilter(`name.familyName co "x" and active eq true`)
	if err != nil {
		b.Fatal(err)
	}
	bound, err := parsed.Bind(s)
	if err != nil {
		b.Fatal(err)
	}
	scanner, _ := bound.Scanner()
	b.ReportAllocs()
	for b.Loop() {
		if scanner.Matches(rendered) {
			b.Fatal("it matches")
		}
	}
}
