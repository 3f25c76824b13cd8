package app

import (
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// maxLastError is what the schema admits of status.evaluation.lastError, in characters.
const maxLastError = 1024

// Progress keeps, of each App, what last kept a user from being evaluated or bound. The zero value is ready to use.
type Progress struct {
	mutex sync.Mutex
	last  map[types.NamespacedName]string
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

func (p *Progress) forget(app types.NamespacedName) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	delete(p.last, app)
}

// evaluationOf says how far the evaluation of an App's users has come for one generation. Once it is through it stays so:
// who comes later is evaluated on the way in, and a restart is no change of the App.
func evaluationOf(before *v1alpha1.Evaluation, generation int64, users, done int32, lastError string) *v1alpha1.Evaluation {
	if before != nil && before.Generation == generation && isThrough(before) {
		return before
	}
	now := &v1alpha1.Evaluation{Generation: generation, Users: users, Done: min(done, users), LastError: lastError}
	if isThrough(now) {
		now.LastError = ""
	}
	return now
}

func isThrough(evaluation *v1alpha1.Evaluation) bool { return evaluation.Done >= evaluation.Users }
