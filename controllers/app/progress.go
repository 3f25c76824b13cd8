package app

import (
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// maxLastError is what the schema admits of status.evaluation.lastError, in characters.
const maxLastError = 1024

// Progress keeps, of each App, what last kept a user from being evaluated or bound, and the users with an expression that
// had no result. The zero value is ready to use.
type Progress struct {
	mutex sync.Mutex
	last  map[types.NamespacedName]string
	// failures of expressions by App and by the user's name.
	failures map[types.NamespacedName]map[string]ExpressionFailure
	changed  func(app types.NamespacedName)
}

// ExpressionFailure tells why an expression had no result for a user. It says nothing about the user.
type ExpressionFailure struct {
	// Role that the expression earns; "" for no failure.
	Role string
	// TooExpensive says that the App's expressions exceeded the budget of one user.
	TooExpensive bool
}

// Expressions keeps the first failure of an App's expressions for a user, in place of the one before.
func (p *Progress) Expressions(app types.NamespacedName, user string, failure ExpressionFailure) {
	p.mutex.Lock()
	before := p.failures[app][user]
	switch {
	case failure == before:
		p.mutex.Unlock()
		return
	case failure.Role == "":
		if delete(p.failures[app], user); len(p.failures[app]) == 0 {
			delete(p.failures, app)
		}
	default:
		if p.failures == nil {
			p.failures = map[types.NamespacedName]map[string]ExpressionFailure{}
		}
		if p.failures[app] == nil {
			p.failures[app] = map[string]ExpressionFailure{}
		}
		p.failures[app][user] = failure
	}
	changed := p.changed
	p.mutex.Unlock()
	if changed != nil {
		changed(app)
	}
}

// failed counts the users with failed expressions of an App, and those with expressions that cost too much, and names a role
// of each.
func (p *Progress) failed(app types.NamespacedName) (counts map[bool]int, roles map[bool]string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	counts, roles = map[bool]int{}, map[bool]string{}
	for _, failure := range p.failures[app] {
		counts[failure.TooExpensive]++
		if role := roles[failure.TooExpensive]; role == "" || failure.Role < role {
			roles[failure.TooExpensive] = failure.Role
		}
	}
	return counts, roles
}

// Failed keeps what went wrong. The reason must tell nothing about a person.
func (p *Progress) Failed(app types.NamespacedName, reason string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.last == nil {
		p.last = map[types.NamespacedName]string{}
	}
	text := []rune(strings.ReplaceAll(strings.ToValidUTF8(reason, "�"), "\n", "; "))
	p.last[app] = string(text[:min(len(text), maxLastError)])
}

func (p *Progress) lastError(app types.NamespacedName) string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.last[app]
}

// through forgets the last error of an App after all its users were evaluated.
func (p *Progress) through(app types.NamespacedName) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.last, app)
}

// forget drops an App that is gone.
func (p *Progress) forget(app types.NamespacedName) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.last, app)
	delete(p.failures, app)
}

// evaluationOf says how far the evaluation of an App's users has come for one generation. Once it is through it stays so: a
// user that comes later is evaluated on the way in, and a restart is no change of the App.
func evaluationOf(before *v1alpha1.Evaluation, generation int64, users, done int32, lastError string) *v1alpha1.Evaluation {
	if before != nil && before.Generation == generation && isThrough(before) {
		return &v1alpha1.Evaluation{Generation: generation, Users: users, Done: users}
	}
	now := &v1alpha1.Evaluation{Generation: generation, Users: users, Done: min(done, users), LastError: lastError}
	if isThrough(now) {
		now.LastError = ""
	}
	return now
}

func isThrough(evaluation *v1alpha1.Evaluation) bool { return evaluation.Done >= evaluation.Users }
