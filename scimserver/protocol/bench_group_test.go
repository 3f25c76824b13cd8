package protocol

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// largeGroup is a PUT as Okta sends it, of n members.
func largeGroup(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"schemas":["` + GroupSchema + `"],"id":"g","displayName":"Everyone","members":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"value":%q,"display":"%s@example.com"}`, memberID(i), memberID(i))
	}
	b.WriteString("]}")
	return b.Bytes()
}

// A PUT of 100,000 members must cost the list of their ids, not a tree of their objects.
func TestDecodeGroupMemory(t *testing.T) {
	const n = 100_000
	s, body := groupSchemas(t), largeGroup(n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	group, err := s.DecodeGroup(bytes.NewReader(body))
	runtime.ReadMemStats(&after)
	if err != nil || len(group.Members) != n {
		t.Fatal(len(group.Members), err)
	}
	// Everything ever allocated, garbage included: ids, the slice and the set while they grow.
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > n*300 {
		t.Errorf("%d bytes allocated for a member", allocated/n)
	}
	if mallocs := after.Mallocs - before.Mallocs; mallocs > n*3 {
		t.Errorf("%.1f allocations for a member", float64(mallocs)/n)
	}
}

func BenchmarkDecodeGroup100000(b *testing.B) {
	s, body := groupSchemas(b), largeGroup(100_000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if group, err := s.DecodeGroup(bytes.NewReader(body)); err != nil || len(group.Members) != 100_000 {
			b.Fatal(err)
		}
	}
}

func BenchmarkRenderGroup100000(b *testing.B) {
	s := groupSchemas(b)
	r := Resource{Attributes: map[string]any{"displayName": "Everyone"}}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.RenderGroup(io.Discard, r, Meta{ID: "g", Location: "https://x/scim/v2/Groups/g"}, manyMembers(100_000), Projection{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseGroupPatch(b *testing.B) {
	s := groupSchemas(b)
	for _, n := range []int{1, 1000, 100_000} {
		members := largeGroup(n)
		members = members[bytes.IndexByte(members, '['):]
		members = members[bytes.Index(members, []byte(`"members":`))+len(`"members":`) : len(members)-1]
		body := []byte(patchBody(`{"op":"remove","path":"members[value eq \"x\"]"}`, `{"op":"add","path":"members","value":`+string(members)+`}`))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := s.ParseGroupPatch(body)
				if err != nil {
					b.Fatal(err)
				}
				if delta, ok := p.Normalise(); !ok || len(delta.Add) != n {
					b.Fatal(len(delta.Add))
				}
			}
		})
	}
}

func BenchmarkSortKey(b *testing.B) {
	s := testSchemas(b)
	complete := s.Complete(decode(b, s, oktaUser), testMeta)
	for _, by := range []string{"userName", "meta.lastModified", "emails"} {
		sort := bindSort(b, s, by, "")
		b.Run(by, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if key := sort.Key(complete); sort.Compare(key, SortKey{}) >= 0 {
					b.Fatal("absent")
				}
			}
		})
	}
}

func BenchmarkBulk(b *testing.B) {
	var operations []string
	for i := range 500 {
		operations = append(operations, fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":"u%d","data":%s}`, i, strings.ReplaceAll(oktaUser, "\n", "")))
	}
	body := bulkBody(append([]string{`{"method":"POST","path":"/Groups","bulkId":"g","data":{"displayName":"G","members":[{"value":"bulkId:u499"}]}}`}, operations...)...)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		request, err := DecodeBulk(body, BulkLimits{MaxOperations: 1000, MaxPayloadSize: 1 << 22})
		if err != nil || len(request.Plan()) != 501 {
			b.Fatal(err)
		}
	}
}
