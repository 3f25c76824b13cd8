// Command probe is what the end-to-end tests run in Pods of their own to ask the cluster's network: "probe listen :8080"
// accepts connections until it is ended, and "probe dial ADDRESS..." says of each address whether it takes a connection.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// patience is how long an address has to take a connection. A policy drops packets, so that refusals take all of it.
const patience = 3 * time.Second

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: probe listen ADDRESS | probe dial ADDRESS...")
		os.Exit(2)
	}
	if os.Args[1] == "listen" {
		fmt.Fprintln(os.Stderr, listen(context.Background(), os.Args[2]))
		os.Exit(1)
	}
	dial(context.Background(), os.Args[2:])
}

// listen takes connections and closes them. It returns the error that ends it.
func listen(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		_ = connection.Close()
	}
}

// dial prints a line for each address, in their order: "open", or "closed" with the reason.
func dial(ctx context.Context, addresses []string) {
	results := make([]string, len(addresses))
	var wait sync.WaitGroup
	for i, address := range addresses {
		wait.Go(func() {
			connection, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", address)
			if err != nil {
				results[i] = "closed: " + err.Error()
				return
			}
			_ = connection.Close()
			results[i] = "open"
		})
	}
	wait.Wait()
	for i, address := range addresses {
		fmt.Println(address, results[i])
	}
}
