package process

import (
	"context"
	"fmt"
	"net"
)

// FreeAddress returns a loopback address, host:port, on which nothing listens now. Another program may take the port before
// the caller does, so the caller must be ready to ask again. It fails where no port is free.
func FreeAddress() (string, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	address := listener.Addr().String()
	return address, listener.Close()
}

// IsFree says whether the address can be listened on now.
func IsFree(address string) bool {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
