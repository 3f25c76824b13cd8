package schema_test

import (
	"context"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
	"github.com/scim-operator/scim-operator/test/testenv"
)

var env *testenv.Env

func TestMain(m *testing.M) { testenv.Main(m, &env, testenv.Options{}) }

// kindUnderTest writes objects of one kind as they are, without a Go type in between.
type kindUnderTest struct {
	name, resource, namespace string
	api                       rest.Interface
	decoder                   runtime.Decoder
}

func newKind(t *testing.T, name, namespace string) *kindUnderTest {
	t.Helper()
	gvk := v1alpha1.GroupVersion.WithKind(name)
	mapping, err := env.Client.RESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		t.Fatal(err)
	}
	codecs := serializer.NewCodecFactory(env.Scheme)
	config := rest.CopyConfig(env.Config)
	config.WarningHandlerWithContext = rest.NoWarnings{} // of unknown fields
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	api, err := apiutil.RESTClientForGVK(gvk, false, false, config, codecs, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	return &kindUnderTest{name: name, resource: mapping.Resource.Resource, namespace: namespace, api: api, decoder: codecs.UniversalDeserializer()}
}

func (k *kindUnderTest) object(name string, spec any) map[string]any {
	return map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": k.name, "spec": spec,
		"metadata": map[string]any{"name": name, "namespace": k.namespace},
	}
}

// write creates the object or puts its status, without a trace where dry, and returns it as the API server gives it back.
func (k *kindUnderTest) write(ctx context.Context, name, subresource string, object any, dry bool) ([]byte, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	request := k.api.Post()
	if subresource != "" {
		request = k.api.Put().Name(name).SubResource(subresource)
	}
	if dry {
		request = request.Param("dryRun", "All")
	}
	return request.Namespace(k.namespace).Resource(k.resource).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Raw()
}

// Whatever is written into a field is refused by admission, which names the field, or can be read by Go.
func TestWhatIsTakenCanBeRead(t *testing.T) {
	for kind, of := range env.Scheme.KnownTypes(v1alpha1.GroupVersion) {
		parts, ours := samples[kind]
		if !ours {
			if _, hasSpec := of.FieldByName("Spec"); hasSpec {
				t.Errorf("kind %s has no sample", kind)
			}
			continue
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			k := newKind(t, kind, env.Namespace(t, nil))
			spec, _ := of.FieldByName("Spec")
			k.try(t, "", "spec", spec.Type, parts.specs, func(spec any) any { return k.object("dry", spec) })
			status, hasStatus := of.FieldByName("Status")
			if !hasStatus {
				return
			}
			stored, err := k.write(t.Context(), "base", "", k.object("base", parse(t, parts.specs[0])), false)
			if err != nil {
				t.Fatal(err)
			}
			base := parse(t, string(stored)).(map[string]any)
			k.try(t, "status", "status", status.Type, parts.statuses, func(status any) any {
				base["status"] = status
				return base
			})
		})
	}
}

// try writes the corpus of each field of a part of the object.
func (k *kindUnderTest) try(t *testing.T, subresource, part string, of reflect.Type, samples []string, object func(any) any) {
	t.Helper()
	parsed := make([]any, len(samples))
	for i, sample := range samples {
		parsed[i] = parse(t, sample)
		if raw, err := k.write(t.Context(), "base", subresource, object(parsed[i]), true); err != nil {
			t.Fatalf("the sample itself is refused: %v\n%s", err, raw)
		}
	}
	for _, f := range fieldsOf(of, part) {
		found := false
		for _, sample := range parsed {
			if _, found = with(sample, f.path[1:], json.RawMessage(`null`)); !found {
				continue
			}
			for _, value := range f.corpus() {
				changed, _ := with(sample, f.path[1:], value)
				k.check(t, f, value, subresource, object(changed))
			}
			break
		}
		if !found {
			t.Errorf("no sample has what holds %s", f)
		}
	}
}

func (k *kindUnderTest) check(t *testing.T, f field, value json.RawMessage, subresource string, object any) {
	t.Helper()
	raw, err := k.write(t.Context(), "base", subresource, object, true)
	if err != nil {
		if !strings.Contains(string(raw)+err.Error(), f.name()) {
			t.Errorf("%s = %s is refused without its name: %s", f, value, raw)
		}
		return
	}
	if _, _, err := k.decoder.Decode(raw, nil, nil); err != nil {
		t.Errorf("%s = %s is taken, and Go cannot read it: %v", f, value, err)
	}
}

// What people write by hand is refused in words that say what to write.
func TestRefusalsSayWhatToWrite(t *testing.T) {
	app, scimToken := newKind(t, "App", env.Namespace(t, nil)), newKind(t, "ScimToken", "default")
	for _, test := range []struct {
		kind       *kindUnderTest
		spec, want string
	}{
		{app, `{"deactivation":{"deleteAfter":"30d"}}`, "spec.deactivation.deleteAfter: Invalid value: \"30d\": must be a duration of at least 1h in hours and minutes, such as 720h for 30 days"},
		{app, `{"deactivation":{"deleteAfter":"30m"}}`, "at least 1h"},
		{app, `{"deactivation":{"confirmWithin":"soon"}}`, "spec.deactivation.confirmWithin: Invalid value: \"soon\": must be a duration between 0s and 30s"},
		{app, `{"deactivation":{"confirmWithin":"1h"}}`, "between 0s and 30s"},
		{app, `{"safety":{"maxRemovals":5,"window":"1d"}}`, "spec.safety.window: Invalid value: \"1d\": must be a duration between 1m and 8760h, such as 1h, or 24h for a day"},
		{app, `{"safety":{"maxRemovals":5,"window":"0s"}}`, "between 1m and 8760h"},
		{scimToken, `{"app":"a","digest":"` + digest + `","expiresAt":"2027-02-01t00:00:00z"}`, "spec.expiresAt: Invalid value: \"2027-02-01t00:00:00z\": must be a time as in RFC 3339, such as 2027-02-01T00:00:00Z"},
		{scimToken, `{"app":"a","digest":"` + digest + `","notBefore":"tomorrow"}`, "spec.notBefore: Invalid value: \"tomorrow\": must be a time as in RFC 3339"},
		{app, `{"externalURL":"scim.example.com"}`, "spec.externalURL: Invalid value: \"scim.example.com\": must be an http or https URL without user, query and fragment, such as https://scim.example.com/scim/v2"},
		{app, `{"externalURL":"/scim/v2"}`, "must be an http or https URL"},
		{app, `{"externalURL":"ftp://scim.example.com"}`, "must be an http or https URL"},
		{app, `{"externalURL":"https://scim.example.com/scim/v2?tenant=1"}`, "must be an http or https URL"},
		{app, `{"externalURL":"https://jane@scim.example.com/"}`, "must be an http or https URL"},
		{app, `{"attributes":[{"name":"level","schema":"example"}]}`, "must be a URN, such as urn:example:2.0:User"},
	} {
		raw, err := test.kind.write(t.Context(), "", "", test.kind.object("base", parse(t, test.spec)), true)
		var status metav1.Status
		// Before Kubernetes 1.35 the API server names the value's type in its place.
		withType := regexp.MustCompile(`Invalid value: "[^"]*"`).ReplaceAllString(test.want, `Invalid value: "string"`)
		if err == nil || json.Unmarshal(raw, &status) != nil || !strings.Contains(status.Message, test.want) && !strings.Contains(status.Message, withType) {
			t.Errorf("%s: %s\nwant it refused with: %s", test.spec, raw, test.want)
		}
		if strings.Contains(status.Message, "google.protobuf") || strings.Contains(status.Message, "[0-9]") {
			t.Errorf("%s: the message is for programmers: %s", test.spec, status.Message)
		}
	}
}

func TestExternalURLsThatAreTaken(t *testing.T) {
	app := newKind(t, "App", env.Namespace(t, nil))
	for _, address := range []string{"", "https://scim.example.com", "https://scim.example.com/scim/v2", "http://127.0.0.1:8085/scim/v2", "https://[2001:db8::1]:8443/"} {
		if raw, err := app.write(t.Context(), "", "", app.object("base", map[string]any{"externalURL": address}), true); err != nil {
			t.Errorf("%q: %s", address, raw)
		}
	}
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}
