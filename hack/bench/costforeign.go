package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/scim-operator/scim-operator/test/bystander"
)

// floorWrites are the objects of one user, of foreign kinds.
type floorWrites struct {
	user, claim *unstructured.Unstructured
	status      any
}

// measureCreateFloor writes what etcd has of a user, its claim and its status, as objects of foreign kinds that no program watches, after
// every policy of this project is gone: what three such writes cost the API server, whatever an operator makes of them. Neither server nor
// controller runs, and the environment is of no other use after it.
func (c *costs) measureCreateFloor(ctx context.Context) error {
	if err := c.deletePolicies(ctx); err != nil {
		return err
	}
	tenant := &bystander.Tenant{Admin: c.admin, Namespace: c.app.Namespace}
	if err := tenant.ForeignKinds(ctx); err != nil {
		return err
	}
	if _, err := c.writeForeign(ctx, c.plan.costs/5); err != nil {
		return err
	}
	before, n := c.work(), c.plan.costs
	written, err := c.writeForeign(ctx, n)
	if err != nil {
		return err
	}
	c.report.add(figure{
		name: c.name, title: "three bare writes of a user's objects, of foreign kinds, without rules, policies and watches",
		n: n, concurrency: fillConcurrency, value: written.rate(), unit: perSecond, p50: percentile(written.latencies, 50), p99: percentile(written.latencies, 99),
	})
	c.reportProcessors("written so, without controller and server", n, before, c.work())
	return nil
}

// deletePolicies takes the admission policies out of the API server.
func (c *costs) deletePolicies(ctx context.Context) error {
	for _, kind := range []string{"ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"} {
		policies := &unstructured.Unstructured{}
		policies.SetGroupVersionKind(schema.GroupVersionKind{Group: "admissionregistration.k8s.io", Version: "v1", Kind: kind})
		if err := c.admin.DeleteAllOf(ctx, policies); err != nil {
			return fmt.Errorf("deleting each %s: %w", kind, err)
		}
	}
	return nil
}

func (c *costs) writeForeign(ctx context.Context, n int) (measurement, error) {
	objects := make([]floorWrites, n)
	for i, p := range c.newPeople(n) {
		var err error
		if objects[i], err = c.foreign(p); err != nil {
			return measurement{}, err
		}
	}
	written := drive(ctx, n, fillConcurrency, func(ctx context.Context, i int) error {
		if err := c.admin.Create(ctx, objects[i].user); err != nil {
			return err
		}
		if err := c.admin.Create(ctx, objects[i].claim); err != nil {
			return err
		}
		objects[i].user.Object["status"] = objects[i].status
		return c.admin.Status().Update(ctx, objects[i].user)
	})
	return written, errors.Join(written.first, ctx.Err())
}

// foreign makes another person's objects of those in the mould.
func (c *costs) foreign(p person) (made floorWrites, err error) {
	read := func(stored []byte, kind string) (*unstructured.Unstructured, error) {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON([]byte(strings.ReplaceAll(string(stored), c.mould.number, p.number))); err != nil {
			return nil, fmt.Errorf("making objects of foreign kinds: %w", err)
		}
		object.SetGroupVersionKind(bystander.ForeignKind(kind))
		object.SetManagedFields(nil)
		object.SetResourceVersion("")
		object.SetUID("")
		return object, nil
	}
	if made.user, err = read(c.mould.user, "User"); err != nil {
		return made, err
	}
	if made.claim, err = read(c.mould.nameClaim, "NameClaim"); err != nil {
		return made, err
	}
	made.claim.SetName(fmt.Sprintf("%.40s-%s", made.claim.GetName(), p.number)) // the hash of another value
	made.status = made.user.Object["status"]
	delete(made.user.Object, "status")
	return made, nil
}
