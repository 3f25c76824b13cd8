package inventory

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/telemetry"
)

// scrapeTimeout bounds the reads of one scrape, all of them in memory.
const scrapeTimeout = 5 * time.Second

var (
	users = telemetry.Collected(telemetry.Controller, "users",
		"Users of an App by state: pending, granted, no_role, observed, not_granted; leaving (not confirmed to be without access), outlasted, revoked. Each replica tells all.",
		"namespace", "app", "state")
	groups = telemetry.Collected(telemetry.Controller, "groups",
		"Groups of an App by state: ready, members_unknown (members were left out that are no users), not_ready. Each replica tells all.",
		"namespace", "app", "state")
	residual = telemetry.Collected(telemetry.Controller, "app_residual_access_users",
		"Users of an App with revoked access that bindings by other hands, or of another user of the same name, still name. Each replica tells all.",
		"namespace", "app")
	expiry = telemetry.Collected(telemetry.Controller, "token_expiry_timestamp_seconds",
		"When a token that its App accepts stops to open it, in seconds since 1970; tokens without an end are left out. Each replica tells all.",
		"namespace", "app", "token")
	lastUse = telemetry.Collected(telemetry.Controller, "token_last_used_timestamp_seconds",
		"When a token last opened its App, to a quarter of an hour, in seconds since 1970; tokens never used are left out. Each replica tells all.",
		"namespace", "app", "token")
	lastRequest = telemetry.Collected(telemetry.Controller, "app_last_request_timestamp_seconds",
		"When a credential last opened an App, to a quarter of an hour, in seconds since 1970: a ScimToken, a token of its issuer, or an OAuth client. Apps without a request are left out. Each replica tells all.",
		"namespace", "app")

	shown = &collector{inventories: map[*Inventory]bool{}}
)

func init() { metrics.Registry.MustRegister(shown) }

// collector shows the inventory of the running manager.
type collector struct {
	mutex       sync.Mutex
	inventories map[*Inventory]bool
}

func (c *collector) add(inventory *Inventory) (remove func()) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.inventories[inventory] = true
	return func() {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		delete(c.inventories, inventory)
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{users, groups, residual, expiry, lastUse, lastRequest} {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector. Managers of one process, as tests have them, see the same Apps: one tells.
func (c *collector) Collect(collected chan<- prometheus.Metric) {
	c.mutex.Lock()
	var inventory *Inventory
	for inventory = range c.inventories {
		break
	}
	c.mutex.Unlock()
	if inventory == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		collected <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	apps := &v1alpha1.AppList{}
	if err := inventory.reader.List(ctx, apps, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	for i := range apps.Items {
		app := &apps.Items[i]
		counts := inventory.Of(client.ObjectKeyFromObject(app))
		for state, count := range counts.Users {
			gauge(users, float64(count), app.Namespace, app.Name, state)
		}
		for state, count := range counts.Groups {
			gauge(groups, float64(count), app.Namespace, app.Name, state)
		}
		gauge(residual, float64(counts.Residual), app.Namespace, app.Name)
	}
	last, err := inventory.LastRequests(ctx)
	if err != nil {
		return
	}
	for app, request := range last {
		gauge(lastRequest, float64(request.At.Unix()), app.Namespace, app.Name)
	}
	tokens, err := inventory.Tokens(ctx)
	if err != nil {
		return
	}
	for _, token := range tokens {
		if token.Spec.Grant != "" { // issued to an OAuth client, which replaces it by itself
			continue
		}
		for description, at := range map[*prometheus.Desc]*metav1.Time{expiry: token.Spec.ExpiresAt, lastUse: token.Status.LastUsedTime} {
			if at != nil {
				gauge(description, float64(at.Unix()), token.Namespace, token.Spec.App, token.Name)
			}
		}
	}
}

// Tokens returns the ScimTokens that their Apps accept, suspended and expired ones included: those with a digest in their
// status. They belong to the cache: do not change them. It fails where ctx ends.
func (i *Inventory) Tokens(ctx context.Context) ([]*v1alpha1.ScimToken, error) {
	list := &v1alpha1.ScimTokenList{}
	if err := i.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var accepted []*v1alpha1.ScimToken
	for n := range list.Items {
		if token := &list.Items[n]; token.Status.Digest != "" {
			accepted = append(accepted, token)
		}
	}
	return accepted, nil
}
