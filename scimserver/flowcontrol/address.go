package flowcontrol

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies tell the address that a request came from. The zero value trusts no header.
type Proxies struct {
	trusted []netip.Prefix
}

// ParseProxies reads the networks of proxies, such as 10.0.0.0/8, that may send X-Forwarded-For. The error names the text
// that is neither a network nor an address.
func ParseProxies(networks []string) (Proxies, error) {
	var p Proxies
	for _, text := range networks {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			address, addressErr := netip.ParseAddr(strings.TrimSpace(text))
			if addressErr != nil {
				return Proxies{}, fmt.Errorf("%q is neither a network such as 10.0.0.0/8 nor an address: %w", text, err)
			}
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		p.trusted = append(p.trusted, prefix.Masked())
	}
	return p, nil
}

// Trusts says whether an address is a proxy's.
func (p Proxies) Trusts(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	for _, prefix := range p.trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// ClientAddress returns the address that a request came from. It is the connection's, or, behind a trusted proxy, the last
// address in X-Forwarded-For that is not a trusted proxy's. Whatever stands before that one in the header, any client can
// send.
func (p Proxies) ClientAddress(r *http.Request) netip.Addr {
	address := hostAddress(r.RemoteAddr)
	if !p.Trusts(address) {
		return address
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := hostAddress(strings.TrimSpace(hops[i]))
		if !hop.IsValid() {
			return address // what a proxy wrote last and cannot be read: the proxy stands for it
		}
		address = hop
		if !p.Trusts(hop) {
			return address
		}
	}
	return address
}

// hostAddress reads an address with or without a port; the zero Addr where there is none.
func hostAddress(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

// Network is what one customer of an access provider has at least: an IPv4 address, or 64 bits of IPv6.
func Network(address netip.Addr) netip.Prefix {
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: such sources share one
	}
	return prefix
}
