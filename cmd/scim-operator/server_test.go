package main

import (
	"io"
	"strings"
	"testing"
)

// A flag that the server could not work with ends it at once, before it looks for an API server, with the flag's name and what to write.
func TestServerFlagsAreChecked(t *testing.T) {
	for arg, want := range map[string]string{
		"--external-url=scim.example.com":              "--external-url=scim.example.com: give scheme and host, such as https://scim.example.com",
		"--external-url=https://scim.example.com/scim": "paths such as /scim/v2 are added to it",
		"--external-url=https://scim.example.com?x":    "--external-url",
		"--external-url=https://jane@scim.example.com": "--external-url",
		"--external-url=ftp://scim.example.com":        "--external-url",
		"--trusted-proxies=10.0.0.0/8,ten":             `--trusted-proxies: "ten" is neither a network such as 10.0.0.0/8 nor an address`,
		"--issuer-networks=10.0.0.1":                   `--issuer-networks: "10.0.0.1" is no network such as 10.20.0.0/16`,
		"--max-connections=0":                          "--max-connections=0: at least 1",
		"--max-requests-per-second=-1":                 "--max-requests-per-second=-1: give a rate",
		"--max-requests-per-second=NaN":                "--max-requests-per-second=NaN: give a rate",
		"--shutdown-delay=-1s":                         "--shutdown-delay=-1s: give a duration",
		"--pprof-listen=0.0.0.0:6060":                  "--pprof-listen=0.0.0.0:6060",
		"--tls-cert-file=tls.crt":                      "tls-key-file",
		"--no-such-flag":                               "unknown flag: --no-such-flag: see scim-operator server --help",
	} {
		if err := serverOutcome(arg, "--kubeconfig=/does/not/exist"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", arg, err, want)
		}
	}
	for _, arg := range []string{"--external-url=https://scim.example.com:8443/", "--external-url=http://[::1]:80", "--trusted-proxies=10.0.0.1", "--max-requests-per-second=0"} {
		if err := serverOutcome(arg, "--kubeconfig=/does/not/exist"); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
			t.Errorf("%s: %v, want what comes after the flags", arg, err)
		}
	}
}

// serverOutcome returns what a server with these arguments ends with.
func serverOutcome(args ...string) error {
	command := newRootCommand()
	command.SetOut(io.Discard)
	command.SetErr(io.Discard)
	command.SetArgs(append([]string{"server"}, args...))
	return command.Execute()
}
