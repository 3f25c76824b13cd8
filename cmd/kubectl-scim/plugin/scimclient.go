package plugin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/internal/loopback"
)

// scimFlags say how the SCIM server is reached.
type scimFlags struct {
	url, tokenFile, caFile string
}

func (f *scimFlags) addTo(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.url, "url", "", "base URL of the SCIM server, as the client has it; empty: the App's spec.externalURL")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with a token of the App, - for standard input; empty: the Secret of a generated one")
	flags.StringVar(&f.caFile, "ca-file", "", "file with the certificates that the SCIM server's is signed by; empty: the system's")
}

const (
	// scimTimeout bounds one request.
	scimTimeout = 60 * time.Second
	// scimAttempts bounds how often a request that is answered 429 or 503 is sent.
	scimAttempts = 8
	// scimLimit bounds the body of an answer.
	scimLimit = 32 << 20
)

// scimClient speaks SCIM with an App's token. It may be used by several goroutines.
type scimClient struct {
	base, token string
	http        *http.Client
	// where tells where URL and token come from.
	urlFrom, tokenFrom string
}

// scimFor makes the client for an App. It reads the token from the file, or from the Secret of a generated token.
func (s *session) scimFor(ctx context.Context, app *v1alpha1.App, f *scimFlags) (*scimClient, error) {
	c := &scimClient{urlFrom: "--url"}
	base := f.url
	if base == "" {
		base, c.urlFrom = app.Spec.ExternalURL, "the App's spec.externalURL"
	}
	if base == "" {
		return nil, fmt.Errorf("the App %s sets no spec.externalURL: give the base URL with --url", app.Name)
	}
	parsed, err := url.Parse(base)
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return nil, fmt.Errorf("%s: %q is no http or https URL, such as https://scim.example.com/scim/v2", c.urlFrom, base)
	}
	if parsed.Scheme == "http" && !loopback.Is(parsed.Hostname()) {
		return nil, fmt.Errorf("%s would send the token unencrypted: use https, or a port-forward", base)
	}
	if strings.Trim(parsed.Path, "/") == "" {
		parsed.Path = "/scim/v2"
	}
	c.base = strings.TrimRight(parsed.String(), "/")
	if c.token, c.tokenFrom, err = s.tokenFor(ctx, app, f); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transferWorkers
	if f.caFile != "" {
		pem, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", f.caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c.http = &http.Client{
		Timeout: scimTimeout, Transport: transport,
		// Another host must not get the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (s *session) tokenFor(ctx context.Context, app *v1alpha1.App, f *scimFlags) (text, from string, err error) {
	switch f.tokenFile {
	case "":
		return s.generatedToken(ctx, app)
	case "-":
		data, err := io.ReadAll(io.LimitReader(s.In, 1<<16))
		return strings.TrimSpace(string(data)), "standard input", err
	}
	data, err := os.ReadFile(f.tokenFile)
	return strings.TrimSpace(string(data)), f.tokenFile, err
}

// generatedToken reads the newest token that the controller generated for the first of the App's ScimTokens that it does not
// refuse.
func (s *session) generatedToken(ctx context.Context, app *v1alpha1.App) (text, from string, err error) {
	for _, entry := range app.Spec.Tokens {
		token := &v1alpha1.ScimToken{}
		err := s.client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: entry.Name}, token)
		if apierrors.IsNotFound(err) || err == nil && token.Spec.Generate == nil {
			continue
		}
		if err != nil {
			return "", "", err
		}
		if conditionOf(token.Status.Conditions, v1alpha1.ConditionAccepted).Status == metav1.ConditionFalse {
			continue
		}
		name := token.Spec.Generate.SecretName
		if token.Status.Rotation != nil {
			name = token.Status.Rotation.SecretName
		}
		secret := &corev1.Secret{}
		if err := s.client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: name}, secret); err != nil {
			return "", "", err
		}
		if text := strings.TrimSpace(string(secret.Data["token"])); text != "" {
			return text, "Secret " + secret.Name, nil
		}
	}
	return "", "", fmt.Errorf("the App %s has no generated token that it accepts: give one with --token-file", app.Name)
}

// scimError is an answer that refuses a request.
type scimError struct {
	Status int
	Detail string
}

func (e *scimError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("HTTP %d", e.Status)
	}
	return fmt.Sprintf("HTTP %d: %s", e.Status, e.Detail)
}

// isStatus says whether an answer refused a request with that status.
func isStatus(err error, status int) bool {
	refused := (*scimError)(nil)
	return errors.As(err, &refused) && refused.Status == status
}

// do sends one request, again after Retry-After where the server asks for that, and decodes the answer into result, which may
// be nil. The error is a *scimError where the server refused the request.
func (c *scimClient) do(ctx context.Context, method, path string, body, result any) error {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return err
		}
	}
	for attempt := 1; ; attempt++ {
		retryAfter, err := c.once(ctx, method, path, encoded, result)
		if retryAfter == 0 || attempt == scimAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryAfter):
		}
	}
}

func (c *scimClient) once(ctx context.Context, method, path string, body []byte, result any) (retryAfter time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Accept", "application/scim+json")
	request.Header.Set("User-Agent", fieldManager)
	if body != nil {
		request.Header.Set("Content-Type", "application/scim+json; charset=utf-8")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, scimLimit))
	if err != nil {
		return 0, err
	}
	switch {
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return time.Duration(min(max(seconds, 1), 30)) * time.Second, refusal(response.StatusCode, data)
	case response.StatusCode < 200 || response.StatusCode > 299:
		return 0, refusal(response.StatusCode, data)
	case result == nil || len(data) == 0:
		return 0, nil
	}
	if err := json.Unmarshal(data, result); err != nil {
		return 0, fmt.Errorf("the answer is no SCIM: %w", err)
	}
	return 0, nil
}

func refusal(status int, body []byte) error {
	var answer struct {
		Detail string `json:"detail"`
	}
	_ = json.Unmarshal(body, &answer) // another server than ours may answer in HTML
	return &scimError{status, answer.Detail}
}

// scimList is a ListResponse, as far as this client looks at it.
type scimList struct {
	Schemas      []string          `json:"schemas"`
	TotalResults int               `json:"totalResults"`
	NextCursor   string            `json:"nextCursor"`
	Resources    []json.RawMessage `json:"Resources"`
}

type scimUser struct {
	ID       string `json:"id"`
	UserName string `json:"userName"`
	Active   bool   `json:"active"`
}

// find looks a user up by userName. It returns nil where there is none.
func (c *scimClient) find(ctx context.Context, userName string) (*scimUser, error) {
	user := &scimUser{}
	if err := c.findInto(ctx, userName, user); err != nil || user.ID == "" {
		return nil, err
	}
	return user, nil
}

// findInto decodes the user of that name into result, and leaves it alone where there is none.
func (c *scimClient) findInto(ctx context.Context, userName string, result any) error {
	list := &scimList{}
	if err := c.do(ctx, http.MethodGet, "/Users?filter="+url.QueryEscape("userName eq "+quoted(userName)), nil, list); err != nil || len(list.Resources) == 0 {
		return err
	}
	return json.Unmarshal(list.Resources[0], result)
}

// quoted is a text as a SCIM filter has it: a JSON string.
func quoted(text string) string {
	encoded, _ := json.Marshal(text) // a string has an encoding
	return string(encoded)
}

// transferWorkers is how many requests export, import and test have under way at once.
const transferWorkers = 8
