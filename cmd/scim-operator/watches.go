package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/informers"
)

// watchDeadline is how long a list or a watch may fail before the process says that it does not know what is going on.
const watchDeadline = 30 * time.Second

// watchError says why a process that depends on the watches is not to be relied on, or nil. A kind that the API server does
// not know counts at once, whatever else fails after watchDeadline. An API server that is away is left to cutOffError.
func watchError(failures []informers.Failure) error {
	var errs []error
	for _, f := range failures {
		switch {
		case informers.Missing(f.Err):
			errs = append(errs, fmt.Errorf("the API server does not know %s (%s): install its CRD: %w", f.Kind, v1alpha1.GroupVersion.Group, f.Err))
		case !informers.Away(f.Err) && time.Since(f.Since) > watchDeadline:
			errs = append(errs, fmt.Errorf("%s cannot be read for %s: %w", f.Kind, time.Since(f.Since).Round(time.Second), f.Err))
		}
	}
	return errors.Join(errs...)
}

// cutOffError says that the API server has not answered for watchDeadline, or nil.
func cutOffError(failures []informers.Failure) error {
	for _, f := range failures {
		if informers.Away(f.Err) && time.Since(f.Since) > watchDeadline {
			return fmt.Errorf("the API server does not answer for %s: %w", time.Since(f.Since).Round(time.Second), f.Err)
		}
	}
	return nil
}

// startError returns why a start would never come to its end, and stalled why it does not now although a restart would not
// help.
func startError(failures []informers.Failure) (stalled, err error) {
	for _, f := range failures {
		switch {
		case informers.Missing(f.Err) || informers.Away(f.Err):
			stalled = f.Err
		case time.Since(f.Since) > startDeadline:
			return nil, fmt.Errorf("cannot read %s, for %s: %w", f.Kind, time.Since(f.Since).Round(time.Second), f.Err)
		}
	}
	return stalled, nil
}
