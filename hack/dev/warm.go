package dev

import (
	"context"
	"io"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/scim-operator/scim-operator/api/v1alpha1"
)

// warmPoll is how often a kind is asked for while the API server refuses.
const warmPoll = 50 * time.Millisecond

// warm has an API server that still starts read what an earlier run left. It reads a kind from etcd at the first request for it, and
// answers 429 until it has: with 10,000 users three seconds. It returns once it has asked for each kind, ctx ends, or there was no
// earlier run. It ignores errors: server and controller ask, too.
func (r *run) warm(ctx context.Context) {
	config, err := clientcmd.BuildConfigFromFlags("", r.path("kubeconfig"))
	if err != nil {
		return
	}
	httpClient, err := rest.HTTPClientFor(config) // a client of Kubernetes would wait as long as the answer 503 says
	if err != nil {
		return
	}
	for _, kind := range []string{"users", "groups", "membershards"} {
		url := config.Host + "/apis/" + v1alpha1.GroupVersion.String() + "/" + kind + "?limit=1&resourceVersion=0"
		_ = wait.PollUntilContextCancel(ctx, warmPoll, true, func(ctx context.Context) (bool, error) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return false, err
			}
			response, err := httpClient.Do(request)
			if err != nil {
				return false, nil
			}
			defer response.Body.Close()
			_, err = io.Copy(io.Discard, response.Body)
			return response.StatusCode == http.StatusOK, err
		})
	}
}
