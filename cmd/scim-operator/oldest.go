package main

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/rest"
)

// oldest is the oldest minor version of Kubernetes that the tests run on. Versions before 1.33 refuse some of the admission policies
// and take everything else, and a server and a controller without those policies are bounded by RBAC alone.
var oldest = utilversion.MajorMinor(1, 34)

// oldServerError is the version of an API server older than that.
type oldServerError string

func (o oldServerError) Error() string {
	return fmt.Sprintf("the API server is Kubernetes %s: this operator needs %s or later", string(o), oldest)
}

// checkVersion returns an oldServerError where the API server is too old, and fails where it does not answer. An API server that keeps
// its version to itself, or writes it in another way than Kubernetes does, is not refused.
func checkVersion(ctx context.Context, client rest.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	answer, err := client.Get().AbsPath("/version").MaxRetries(0).Do(ctx).Raw()
	switch {
	case apierrors.IsForbidden(err) || apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("asking the API server for its version: %w", err)
	}
	var of struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(answer, &of); err != nil {
		return nil // another way to write it
	}
	if running, err := utilversion.ParseGeneric(of.GitVersion); err == nil && running.LessThan(oldest) {
		return oldServerError(of.GitVersion)
	}
	return nil
}
