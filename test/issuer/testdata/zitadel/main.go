// Command zitadel is a real OpenID Connect issuer for tests, by HTTPS on loopback: zitadel/oidc's own server, with signed access tokens of
// one audience for its machine client sid1, by client credentials. It prints its URL and its certificate as JSON, and ends with its
// standard input. It is a module of its own, so that the operator's modules stay few.
package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	audience := flag.String("audience", "", "what the claim aud of access tokens holds")
	flag.Parse()
	if err := run(*audience); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(audience string) error {
	var handler http.Handler
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer server.Close()
	store := &machines{Storage: storage.NewStorage(storage.NewUserStore(server.URL)), audience: audience}
	handler = exampleop.SetupServer(server.URL, store, slog.New(slog.DiscardHandler), false)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"url": server.URL, "authority": string(certificate)}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// machines is the example's storage, with access tokens that are JWTs.
type machines struct {
	*storage.Storage
	audience string
}

// ClientCredentials implements op.ClientCredentialsStorage.
func (m *machines) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	client, err := m.Storage.ClientCredentials(ctx, id, secret)
	if err != nil {
		return nil, err
	}
	return signing{client}, nil
}

// ClientCredentialsTokenRequest implements op.ClientCredentialsStorage.
func (m *machines) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{m.audience}, Scopes: scopes}, nil
}

// signing is a client with access tokens that are JWTs.
type signing struct{ op.Client }

func (signing) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
