package protocol

import (
	"slices"
	"strconv"
)

// BulkPhase says how much of an operation a step does.
type BulkPhase int

const (
	// BulkWhole means to attempt the operation, with ResolvePath and Resolve applied.
	BulkWhole BulkPhase = iota
	// BulkPart means that the operation is a POST with data that refers to an operation which in turn waits for it. Create
	// the resource from what ResolvePart leaves.
	BulkPart
	// BulkRest means that all that the data of a BulkPart refers to has been attempted. PUT the data, with Resolve applied, to the resource
	// that the BulkPart created; the result is the operation's, with the POST's status. Where the BulkPart failed, there is nothing
	// to do; where Resolve fails, the answer is its 409 (RFC 7644 section 3.7.1).
	BulkRest
	// BulkRefused means that there is nothing to do: the operation's Err is the result.
	BulkRefused
)

// BulkStep is one thing to do for a bulk request.
type BulkStep struct {
	Index int // of the operation
	Phase BulkPhase
}

// Plan orders the operations. An operation comes after the ones that create the resources it refers to by bulkId; otherwise
// the order is the client's. Where operations refer to each other in a circle, one of them is done in two steps. Plan sets
// an operation's Err, to invalidValue, where a bulkId belongs to no operation that creates something. Dependencies says
// which steps need not wait for each other.
func (b *BulkRequest) Plan() []BulkStep {
	p := planner{operations: b.Operations, creator: map[string]int{}, state: make([]visitState, len(b.Operations))}
	for i, o := range b.Operations {
		if o.creates() {
			p.creator[o.BulkID] = i
		}
	}
	for i := range b.Operations {
		o := &b.Operations[i]
		for _, reference := range o.references {
			if _, ok := p.creator[reference]; !ok && o.Err == nil {
				o.Err, o.DataRefused = InvalidValue("a bulkId that the operation refers to belongs to no POST of the request"), true
			}
		}
	}
	for i := range b.Operations {
		p.visit(i)
	}
	return p.steps
}

type visitState int8

const (
	notVisited visitState = iota
	visiting
	visited
)

type planner struct {
	operations []BulkOperation
	creator    map[string]int // the index of the operation that creates under a bulkId
	state      []visitState
	steps      []BulkStep
	// parts are the operations done in part, with the rest due once the outermost visit ends.
	parts []int
	depth int
}

// visit plans what an operation refers to, and then the operation.
func (p *planner) visit(i int) {
	if p.state[i] != notVisited {
		return
	}
	if p.operations[i].Err != nil {
		p.state[i] = visited
		p.steps = append(p.steps, BulkStep{i, BulkRefused})
		return
	}
	p.state[i] = visiting
	p.depth++
	step := BulkStep{i, BulkWhole}
	for _, reference := range p.operations[i].references {
		creator := p.creator[reference]
		switch p.state[creator] {
		case notVisited:
			p.visit(creator)
		case visiting:
			// What is visited on the way here refers to this one: only what creates something is referred to.
			step.Phase = BulkPart
		case visited:
		}
	}
	p.steps = append(p.steps, step)
	if step.Phase == BulkPart {
		p.parts = append(p.parts, i)
	}
	p.state[i] = visited
	if p.depth--; p.depth > 0 {
		return
	}
	for _, part := range p.parts {
		p.steps = append(p.steps, BulkStep{part, BulkRest})
	}
	p.parts = p.parts[:0]
}

// BulkIDs maps bulkIds to the ids of the resources that were created under them. Operations that failed have none.
type BulkIDs map[string]string

// ResolvePath replaces a reference in the path. The error is 409: what the reference means was not created.
func (ids BulkIDs) ResolvePath(o BulkOperation) (string, error) {
	path, err := ids.replace(o.Path)
	if err != nil {
		return "", err
	}
	return path, nil
}

// Resolve replaces every reference in the operation's data. The error is 409: what a reference means was not created.
func (ids BulkIDs) Resolve(o BulkOperation) ([]byte, error) {
	if len(o.references) == 0 {
		return o.Data, nil
	}
	resolved := make([]byte, 0, len(o.Data)+len(o.Data)/8)
	from := 0
	for start, end := range rawStrings(o.Data) {
		if !mayRefer(o.Data[start:end]) {
			continue
		}
		text := string(unquoted(o.Data[start:end]))
		replaced, err := ids.replace(text)
		if err != nil {
			return nil, err
		}
		if replaced != text {
			resolved = appendString(append(resolved, o.Data[from:start]...), replaced)
			from = end
		}
	}
	return append(resolved, o.Data[from:]...), nil
}

// ResolvePart is Resolve for a BulkPart step: a reference to something that was not created yet is left out. Of a list, that
// is the element. It answers invalidSyntax where the data is not JSON.
func (ids BulkIDs) ResolvePart(o BulkOperation) ([]byte, error) {
	value, err := parseJSON(o.Data)
	if err != nil {
		return nil, malformed(err)
	}
	value, _ = ids.part(value)
	return appendValue(nil, value), nil
}

// part replaces references in a value; ok is false where the value is one that cannot be resolved.
func (ids BulkIDs) part(value any) (part any, ok bool) {
	switch value := value.(type) {
	case string:
		replaced, err := ids.replace(value)
		return replaced, err == nil
	case []any:
		value = slices.DeleteFunc(value, func(element any) bool { return !ids.resolves(element) })
		for i := range value {
			value[i], _ = ids.part(value[i])
		}
		return value, true
	case map[string]any:
		for name, member := range value {
			if value[name], ok = ids.part(member); !ok {
				delete(value, name)
			}
		}
		return value, true
	default:
		return value, true
	}
}

// resolves reports whether every reference in a value can be resolved.
func (ids BulkIDs) resolves(value any) bool {
	switch value := value.(type) {
	case string:
		_, err := ids.replace(value)
		return err == nil
	case []any:
		return !slices.ContainsFunc(value, func(element any) bool { return !ids.resolves(element) })
	case map[string]any:
		for _, member := range value {
			if !ids.resolves(member) {
				return false
			}
		}
	}
	return true
}

// replace replaces the references in one string.
func (ids BulkIDs) replace(text string) (string, error) {
	result, from := "", 0
	for start, end := range references(text) {
		id, ok := ids[text[start+len(bulkIDPrefix):end]]
		if !ok {
			return "", Conflict("the operation refers by bulkId to a resource that was not created")
		}
		result += text[from:start] + id
		from = end
	}
	return result + text[from:], nil
}

func appendStatus(dst []byte, status int) []byte {
	return append(strconv.AppendInt(append(dst, `"status":"`...), int64(status), 10), '"')
}
