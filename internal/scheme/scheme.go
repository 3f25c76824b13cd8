// Package scheme has the kinds that this project's clients know.
package scheme

import (
	"errors"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// New returns Kubernetes' kinds, this project's, and what more adds. It returns no error with the kinds of this module alone.
func New(more ...func(*runtime.Scheme) error) (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	var errs []error
	for _, add := range append([]func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme}, more...) {
		errs = append(errs, add(scheme))
	}
	return scheme, errors.Join(errs...)
}
