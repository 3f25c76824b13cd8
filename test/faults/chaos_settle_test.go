package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/scim-operator/scim-operator/test/okta/harness"
	"github.com/scim-operator/scim-operator/test/oracle"
)

// nudge changes single things under a leader at rest. A change that the leader does not follow shows: no successor's fresh
// look at everything puts it right. Apps come last, because an edit has all users evaluated.
func (c *chaos) nudge() {
	ctx, app := c.t.Context(), c.apps[0]
	for _, group := range app.groups {
		if !group.pushed {
			continue
		}
		next := group.names[(slices.Index(group.names, group.Name)+1)%len(group.names)]
		if err := c.patiently(func() error { _, err := app.clients[0].RenameGroup(ctx, &group.PushedGroup, next); return err }); err != nil {
			c.t.Fatal(err)
		}
	}
	for i, name := range c.namespaces {
		c.relabel(name, c.labels([]string{"emea2", "us1"}[i%2], []string{"bronze", "gold", "silver"}[c.random.IntN(3)]))
	}
	c.settle(0)
	for _, app := range c.apps {
		app.shape.everyGrant = !app.shape.everyGrant
		c.reshape(ctx, app)
	}
	c.settle(0)
}

// settle waits until access is as it should be, and stays so.
func (c *chaos) settle(steady time.Duration) {
	c.t.Helper()
	var last []string
	took := harness.EventuallyEvery(c.t, 300*time.Millisecond, settling, "exactly the access that follows from the objects", func(ctx context.Context) error {
		differences, err := c.differences(ctx)
		if err == nil && len(differences) > 0 {
			last = differences
			err = errors.New(abridged(differences))
		}
		return err
	})
	c.t.Logf("access is as it should be after %s; the last to go: %.300q", took.Round(time.Millisecond), last)
	until := time.Now().Add(steady)
	for time.Now().Before(until) {
		differences, err := c.differences(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		if len(differences) > 0 {
			c.t.Fatalf("access did not stay as it should be: %s", abridged(differences))
		}
		pause(c.t.Context(), 500*time.Millisecond)
	}
}

// abridged shows some of the differences, from the first to the last.
func abridged(differences []string) string {
	const shown = 30
	text := fmt.Sprintf("%d differences", len(differences))
	step := max(1, len(differences)/shown)
	for i := 0; i < len(differences); i += step {
		text += "\n" + differences[i]
	}
	return text
}

func (c *chaos) differences(ctx context.Context) ([]string, error) {
	cluster, err := oracle.Read(ctx, c.client, c.apps[0].Namespace)
	if err != nil {
		return nil, err
	}
	return cluster.Differences(meanings)
}

// askSample asks the API server itself whether some people can do what they should, and nothing else.
func (c *chaos) askSample() {
	cluster, err := oracle.Read(c.t.Context(), c.client, c.apps[0].Namespace)
	if err != nil {
		c.t.Fatal(err)
	}
	expected, err := cluster.Expect(meanings)
	if err != nil {
		c.t.Fatal(err)
	}
	var living []string
	for i := range cluster.Namespaces {
		if namespace := &cluster.Namespaces[i]; slices.Contains(c.namespaces, namespace.Name) && namespace.DeletionTimestamp.IsZero() {
			living = append(living, namespace.Name)
		}
	}
	can := map[bool]int{}
	granted := oracle.Sorted(expected.Access)
	for i := range 40 {
		asked := oracle.Access{
			Namespace: living[c.random.IntN(len(living))],
			Role:      slices.Sorted(maps.Keys(verbs))[c.random.IntN(len(verbs))],
			Subject:   "User/" + cluster.Subject(&cluster.Users[c.random.IntN(len(cluster.Users))]),
		}
		if i%2 == 0 && len(granted) > 0 {
			if one := granted[c.random.IntN(len(granted))]; one.Namespace != "" && verbs[one.Role] != "" {
				asked = one
			}
		}
		user, isUser := strings.CutPrefix(asked.Subject, "User/")
		if !isUser || user == "" {
			continue
		}
		want := expected.Access[asked] || expected.Access[oracle.Access{Role: asked.Role, Subject: asked.Subject}]
		harness.Eventually(c.t, recovery, "an answer", func(ctx context.Context) error {
			got, err := operator.CanI(ctx, user, verbs[asked.Role], "configmaps", asked.Namespace)
			if err == nil && got != want {
				err = fmt.Errorf("%s can %s in %s: %t, want %t", user, verbs[asked.Role], asked.Namespace, got, want)
			}
			return err
		})
		can[want]++
	}
	c.t.Logf("the API server says so, too, of a sample: %d times yes, %d times no", can[true], can[false])
}
