package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Process is a real issuer in a process of its own: zitadel/oidc's server. Its machine client is Client.
type Process struct {
	// URL of the issuer, and Authority, the certificate by which it is trusted, in PEM.
	URL, Authority string

	command *exec.Cmd
	input   io.Closer
}

// Client is the machine client of a Process; the claim client_id of its tokens.
const Client = "sid1"

// clientSecret is the example's own, in the source of zitadel/oidc.
const clientSecret = "verysecret"

// Start builds the server into a folder and runs it, with access tokens of an audience. It fails where the server cannot be built or does
// not say where it is.
func Start(ctx context.Context, dir, audience string) (*Process, error) {
	_, file, _, _ := runtime.Caller(0)
	binary := filepath.Join(dir, "issuer")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = filepath.Join(filepath.Dir(file), "testdata", "zitadel")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // flags of the test's own build are for its module
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build zitadel/oidc's server: %w: %s", err, output)
	}
	p := &Process{command: exec.Command(binary, "-audience", audience)} //nolint:noctx // it lives until Stop
	input, err := p.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.input = input
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	var place struct{ URL, Authority string }
	if err := json.NewDecoder(output).Decode(&place); err != nil {
		return nil, errors.Join(fmt.Errorf("read where the issuer is: %w", err), p.Stop())
	}
	p.URL, p.Authority = place.URL, place.Authority
	return p, nil
}

// Stop ends the process. It returns the error of a process that failed.
func (p *Process) Stop() error {
	return errors.Join(p.input.Close(), p.command.Wait())
}

// Token gets an access token for the client, by client credentials. It fails where the issuer gives none.
func (p *Process) Token(ctx context.Context, trusting *http.Client, scopes ...string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {strings.Join(scopes, " ")}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(Client, clientSecret)
	response, err := trusting.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		return "", fmt.Errorf("the issuer answered %d, %q: %w", response.StatusCode, answer.Error, errors.Join(errors.New("no access token"), err))
	}
	return answer.AccessToken, nil
}
