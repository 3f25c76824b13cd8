package plugin

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
)

// Exit statuses. They are documented in the help of the root command and in docs/kubectl-scim.md.
const (
	exitDone        = 0
	exitNo          = 1
	exitFailed      = 2
	exitForbidden   = 3
	exitInterrupted = 130
)

// errNo ends a command that did its work and has to answer no: diff with differences, test with a failed step. It has no text
// of its own, because the command has printed the answer.
var errNo = errors.New("")

func exitStatus(ctx context.Context, err error) int {
	switch {
	case errors.Is(err, errNo):
		return exitNo
	case ctx.Err() != nil:
		return exitInterrupted
	case missingRight(err) != "":
		return exitForbidden
	}
	return exitFailed
}

// denied is how the API server's authorizer words a refusal. Admission policies are forbidden, too, in words of their own.
var denied = regexp.MustCompile(`cannot (\S+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?`)

// missingRight returns the right that a refused call would have needed, such as "list users.scim-operator.io in namespace
// directory", or "" where the error is of another kind.
func missingRight(err error) string {
	if err == nil || !apierrors.IsForbidden(err) {
		return ""
	}
	found := denied.FindStringSubmatch(err.Error())
	if found == nil {
		return ""
	}
	verb, resource, group, where := found[1], found[2], found[3], "in all namespaces"
	if group != "" {
		name, sub, isSub := strings.Cut(resource, "/")
		if resource = name + "." + group; isSub {
			resource += "/" + sub
		}
	}
	if found[4] != "" {
		where = "in namespace " + found[4]
	}
	return fmt.Sprintf("%s %s %s", verb, resource, where)
}

// errorText returns what a person is told of an error.
func errorText(err error) string {
	text := err.Error()
	if right := missingRight(err); right != "" {
		return fmt.Sprintf("forbidden: you lack the right to %s\n%s", right, text)
	}
	if meta.IsNoMatchError(err) {
		return "the cluster does not serve scim-operator's kinds: " + text
	}
	return text
}
