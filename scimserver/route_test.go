package scimserver

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestParseRoute(t *testing.T) {
	quickstart := types.NamespacedName{Namespace: "directory", Name: "quickstart"}
	for _, test := range []struct {
		path  string
		want  route
		known bool
	}{
		{"/Users", route{endpoint: "Users"}, true},
		{"/scim/v2/Users", route{base: "/scim/v2", endpoint: "Users"}, true},
		{"/scim/Users/", route{base: "/scim", endpoint: "Users"}, true},
		{"/v2/Users", route{base: "/v2", endpoint: "Users"}, true},
		{"//scim//v2//Users//jane-abc", route{base: "/scim/v2", endpoint: "Users", id: "jane-abc"}, true},
		{"/scim/v2/Users/a%2Fb", route{base: "/scim/v2", endpoint: "Users", id: "a/b"}, true},
		{"/apps/directory/quickstart/scim/v2/Users", route{app: quickstart, base: "/apps/directory/quickstart/scim/v2", endpoint: "Users"}, true},
		{"/apps/directory/quickstart/Groups", route{app: quickstart, base: "/apps/directory/quickstart", endpoint: "Groups"}, true},
		{"/scim/v2/ServiceProviderConfig", route{base: "/scim/v2", endpoint: "ServiceProviderConfig"}, true},
		{"/scim/v2/ServiceProviderConfig/x", route{base: "/scim/v2", endpoint: "ServiceProviderConfig", id: "x"}, false},
		{"/scim/v2/Users/a/b", route{base: "/scim/v2"}, false},
		{"/scim/v2/users", route{base: "/scim/v2", endpoint: "Users"}, true},
		{"/GROUPS/.SEARCH", route{endpoint: "Groups", id: ".search"}, true},
		{"/serviceproviderconfig", route{endpoint: "ServiceProviderConfig"}, true},
		{"/people", route{endpoint: "people"}, false},
		{"/scim/v2", route{base: "/scim/v2"}, false},
		{"/", route{}, false},
		{"", route{}, false},
		{"/Users/%zz", route{}, false},
		{"/apps/directory/Users", route{app: types.NamespacedName{Namespace: "directory", Name: "Users"}, base: "/apps/directory/Users"}, false},
	} {
		got, known := parseRoute(test.path)
		if got != test.want || known != test.known {
			t.Errorf("parseRoute(%q) = %+v, %v; want %+v, %v", test.path, got, known, test.want, test.known)
		}
	}
}
