package informers

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// Away says whether a request failed because the API server does not answer, or has no time. The caller should wait, for as
// long as it takes. An answer that refuses the request, or that cannot be read, is something else, and so is
// a LagError.
func Away(err error) bool {
	if err == nil || errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(*LagError)) {
		return false
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsServiceUnavailable(err)
	}
	return errors.As(err, new(net.Error)) || errors.As(err, new(*url.Error)) || utilnet.IsProbableEOF(err) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// Missing says whether a request failed because the API server does not know the kind: its CRD is not installed.
func Missing(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }
