package controlplane

import (
	"os"
	"testing"

	"k8s.io/client-go/kubernetes"
)

// A result is one of the version that was asked for.
func TestServerIsOfTheVersionAskedFor(t *testing.T) {
	version, named, err := wanted()
	if err != nil {
		t.Fatal(err)
	}
	if !named && os.Getenv(assetsVariable) != "" {
		t.Skipf("%s may be of any version", assetsVariable)
	}
	binDir, err := Ensure(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Start(t.Context(), Options{BinDir: binDir, UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	clientset, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := clientset.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if minorOf(got.GitVersion) != minorOf(version) {
		t.Errorf("the API server is %s, asked for %s", got.GitVersion, version)
	}
}
