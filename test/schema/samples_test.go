package schema_test

// samples of each kind's spec, and of its status, which together have all that a field can be in. Where rules exclude fields from
// each other, a kind has several.
var samples = map[string]struct{ specs, statuses []string }{
	"App": {
		specs: []string{`{
			"provisioning":{"importUsers":true,"dropAttributes":["a"]},"limits":{},"kubernetes":{"usernamePrefix":"schema:","groupPrefix":"schema:"},
			"tokens":[{"name":"a","digest":"` + digest + `","scopes":["read"]}],
			"oidc":{"issuer":"https://example.com/a","audience":"a","subjects":["a"],"authorizedParties":["a"],"claims":[{"name":"a","value":"b"}],
				"certificateAuthority":"-----BEGIN CERTIFICATE-----","scopes":["read"],"allowedCIDRs":["10.0.0.0/8"]},
			"attributes":[{"name":"level","canonicalValues":["a"]}],
			"roleAssignment":{"fromAttributes":["role"],"default":["viewer"]},
			"roles":[{"name":"viewer","groups":["g"],"untilAttribute":"level","scopes":["all"],"grants":[{"clusterRole":"view"}]}],
			"scopes":{"list":[{"name":"all","namespaces":["default"]}]},
			"deactivation":{"confirmWithin":"2s"},"safety":{"maxRemovals":1,"window":"1h"}}`,
			`{"roles":[{"name":"viewer","grants":[{"role":"view"}]}],
			"scopes":{"list":[{"name":"all","namespaceSelector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]}}]}}`,
			`{"scopes":{"list":[{"name":"all","clusterWide":true}]}}`,
			`{"oauth":{"clientID":"a","clientSecret":{"name":"a","digest":"` + digest + `"},"oktaAppName":"a","scopes":["read"],"accessTokenLifetime":"1h","refreshTokenLifetime":"2160h"}}`,
			`{"oauth":{"clientID":"a","clientSecret":{"name":"a"},"redirectURIs":["https://a.example.com/b"]}}`,
			`{"oauth":{"machineClients":[{"clientID":"a","keys":["` + publicKey + `"]}]}}`},
		statuses: []string{`{` + conditions + `,"evaluation":{"generation":1,"users":1,"done":1},"removals":{"count":1,"held":1},"missingScopes":[{"name":"a","message":"b"}],
			"oidc":{"observedGeneration":1,"reachable":true,"message":"a","checkedTime":"2030-01-01T00:00:00Z","lastUsedTime":"2030-01-01T00:00:00Z","lastSubject":"a"}}`},
	},
	"ScimToken": {
		specs: []string{
			`{"app":"a","digest":"` + digest + `","notBefore":"2026-01-01T00:00:00Z","scopes":["read"],"allowedCIDRs":["10.0.0.0/8"],"basic":{"userName":"a"}}`,
			`{"app":"a","digest":"` + digest + `","expiresAt":"2030-01-01T00:00:00Z"}`,
			`{"app":"a","secretRef":{"name":"a"}}`, `{"app":"a","generate":{"secretName":"a"},"rotation":{"every":"720h","overlap":"24h"}}`,
			`{"app":"a","type":"AccessToken","grant":"a","digest":"` + digest + `","expiresAt":"2030-01-01T00:00:00Z"}`,
		},
		statuses: []string{`{` + conditions + `,"lastUsedTime":"2030-01-01T00:00:00Z","rotation":{"secretName":"a","serial":2,"madeTime":"2030-01-01T00:00:00Z","former":{"secretName":"a","digest":"` + digest + `","tokenID":"a","until":"2030-01-01T00:00:00Z"}}}`},
	},
	"User": {
		specs: []string{`{"app":"a","userName":"a","userNameKey":"a","active":true,"name":{},"emails":[{"value":"a"}],"phoneNumbers":[{"value":"a"}],"ims":[{"value":"a"}],
			"photos":[{"value":"a"}],"addresses":[{"locality":"a"}],"entitlements":[{"value":"a"}],"roles":[{"value":"a"}],"x509Certificates":[{"value":"a"}],
			"enterprise":{"manager":{}},"attributes":{"a":1},"extensions":{"urn:a":{}},"containers":{"a":"b"}}`},
		statuses: []string{`{` + conditions + `,"roles":[{"role":"a","scope":"b","reasons":["c"]}],"residualAccess":[{"kind":"a","name":"b","role":"c","subject":"d"}]}`},
	},
	"Group": {
		specs: []string{
			`{"app":"a","displayName":"a","displayNameKey":"a","attributes":{"a":1},"extensions":{"urn:a":{}},"containers":{"a":"b"},"members":["a"]}`,
			`{"app":"a","displayName":"a","displayNameKey":"a","sharding":{"epoch":"aaaaaaaaaa","count":128},"lastRequests":["a"]}`,
		},
		statuses: []string{`{"members":0,` + conditions + `,"roles":["a"]}`},
	},
	"MemberShard": {specs: []string{`{"app":"a","group":"a","epoch":"aaaaaaaaaa","index":0,"members":["a"],"lastRequests":["a"]}`}},
	"NameClaim":   {specs: []string{`{"app":"a","attribute":"userName","value":"a","holder":"a"}`}},
	"OAuthGrant": {
		specs: []string{`{"app":"a","appUID":"a","clientID":"a","redirectURI":"https://a.example.com/b","userCode":"BCDF-GHJK","requestedFrom":"192.0.2.1","scopes":["read"],
			"codeChallenge":"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM","browserDigest":"` + digest + `","expiresAt":"2030-01-01T00:00:00Z","decision":"Approved","decidedBy":"a"}`,
			`{"app":"a","clientID":"a","userCode":"BCDF-GHJK","key":"` + publicKey + `"}`},
		statuses: []string{`{` + conditions + `,"code":{"digest":"a","expiresAt":"2030-01-01T00:00:00Z","usedAt":"2030-01-01T00:00:00Z"},
			"refresh":{"digest":"a","issuedAt":"2030-01-01T00:00:00Z","expiresAt":"2030-01-01T00:00:00Z","formerDigest":"b"},"usedRefreshDigests":["a"],"assertions":[{"digest":"a","until":"2030-01-01T00:00:00Z"}],"replayed":{"time":"2030-01-01T00:00:00Z","from":"192.0.2.1"},
			"access":{"requestedAt":"2030-01-01T00:00:00Z","expiresAt":"2030-01-01T00:00:00Z"},"ended":{"reason":"a","time":"2030-01-01T00:00:00Z"}}`},
	},
	"RevocationList": {specs: []string{`{"app":{"namespace":"a","name":"a"},"prefix":"schema:","entries":"2027-01-01T00:00:00Z\tschema:a\n","omitted":1}`}},
	"AppRoleBinding": {
		specs:    []string{`{"app":"a","roleRef":{"name":"a"},"scope":"a","index":0,"subjects":[{"user":"a","name":"b"}]}`},
		statuses: []string{`{"subjects":0,"nativeBindingCount":0,` + conditions + `,"nativeBindings":[{"kind":"a","name":"b"}]}`},
	},
}

const (
	conditions = `"conditions":[{"type":"Ready","status":"True","reason":"A","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]`
	publicKey  = `-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n`
	digest     = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
)
