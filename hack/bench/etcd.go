package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/rest"
)

// etcdClient reads and writes single keys of the API server's store by etcd's own HTTP interface. It exists to fill a
// directory: 200,000 objects by way of the API server take a quarter of an hour, and nothing of that is measured here.
type etcdClient struct {
	base string
	http *http.Client
}

func newEtcdClient(config *rest.Config) (*etcdClient, error) {
	config = rest.CopyConfig(config)
	config.Timeout = requestTimeout
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &etcdClient{base: config.Host + "/v3/kv/", http: client}, nil
}

// keyValue is one message of etcd's interface; byte slices are base64 there, as encoding/json writes them.
type keyValue struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value,omitempty"`
}

// get returns the value of a key that must be there.
func (c *etcdClient) get(ctx context.Context, key string) ([]byte, error) {
	var answer struct {
		Values []keyValue `json:"kvs"`
	}
	if err := c.do(ctx, "range", keyValue{Key: []byte(key)}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Values) != 1 {
		return nil, fmt.Errorf("etcd holds %d values of %s, not 1", len(answer.Values), key)
	}
	return answer.Values[0].Value, nil
}

func (c *etcdClient) put(ctx context.Context, key string, value []byte) error {
	return c.do(ctx, "put", keyValue{Key: []byte(key), Value: value}, nil)
}

func (c *etcdClient) do(ctx context.Context, what string, message, into any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd answered %s to %s: %.300s", response.Status, what, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}
