// Package loopback tells addresses of this machine alone from others. It is pure.
package loopback

import "net"

// Is says whether a host, without a port or brackets, is localhost or a loopback address. It resolves no name.
func Is(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
