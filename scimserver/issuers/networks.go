package issuers

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// Networks are those beside public addresses in which issuers may be. The zero value has none.
type Networks []netip.Prefix

// ParseNetworks reads networks such as 10.20.0.0/16. It fails at the first that is none.
func ParseNetworks(texts []string) (Networks, error) {
	var networks Networks
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no network such as 10.20.0.0/16: %w", text, err)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// special are networks that are no places of public servers, beside those that netip.Addr knows (the registries of RFC 6890), and those
// that embed an address of IPv4.
var special = mustNetworks("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "5f00::/16", "fec0::/10")

func mustNetworks(texts ...string) Networks {
	networks, err := ParseNetworks(texts)
	if err != nil {
		panic(err)
	}
	return networks
}

func (n Networks) contain(address netip.Addr) bool {
	for _, network := range n {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// allow says whether an issuer may be at an address.
func (n Networks) allow(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	public := address.IsGlobalUnicast() && !address.IsPrivate() && !special.contain(address)
	return public || n.contain(address)
}

var errForbiddenAddress = errors.New("the address is in no network of issuers")

// control keeps a net.Dialer from addresses where no issuer may be. It sees the address that the name was resolved to, so that a name
// that changes its address in between changes nothing.
func (n Networks) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !n.allow(at.Addr()) {
		return errForbiddenAddress
	}
	return nil
}
