package main

import (
	"io"
	"strings"
	"testing"
)

// The webhook tells which users were revoked: it is served to API servers with a certificate, and to no other client.
func TestAuthorizerNeedsAClientAuthority(t *testing.T) {
	command := newServerCommand()
	command.SetOut(io.Discard)
	command.SetErr(io.Discard)
	command.SetArgs([]string{"--authorizer-listen=127.0.0.1:0", "--authorizer-tls-cert-file=tls.crt", "--authorizer-tls-key-file=tls.key"})
	if err := command.Execute(); err == nil || !strings.Contains(err.Error(), "authorizer-client-ca-file") {
		t.Errorf("the server starts without an authority of clients: %v", err)
	}
}
