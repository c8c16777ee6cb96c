package sigma

import (
	"fmt"
	"net/netip"
	"slices"
)

// addresses is ranges of addresses, in order and apart from each other.
type addresses []addressRange

type addressRange struct {
	first netip.Addr
	last  netip.Addr
}

// parseNetwork reads a network, or one address.
func parseNetwork(value string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(value)
	if err != nil {
		one, single := netip.ParseAddr(value)
		if single != nil {
			return network, fmt.Errorf("%q is not a network such as 10.0.0.0/8 or fe80::/10", value)
		}
		network = netip.PrefixFrom(one.WithZone(""), one.BitLen())
	}
	return network.Masked(), nil
}

// rangesAtom makes one atom of many networks.
func rangesAtom(text string, values []string) ([]atom, error) {
	all := make(addresses, 0, len(values))
	for _, value := range values {
		network, err := parseNetwork(value)
		if err != nil {
			return nil, err
		}
		all = append(all, addressRange{first: network.Addr(), last: lastOf(network)})
	}
	all = all.joined()
	return []atom{{written: text, find: onLeaf(func(l *leaf) bool {
		address, err := netip.ParseAddr(l.text)
		if err != nil {
			return false
		}
		address = address.WithZone("")
		return all.contain(address) || address.Is4In6() && all.contain(address.Unmap())
	})}}, nil
}

// lastOf is the last address of a network.
func lastOf(network netip.Prefix) netip.Addr {
	bytes := network.Addr().AsSlice()
	for bit := network.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// joined sorts ranges and makes one of those that meet. Addresses of version 4 come before those of version 6.
func (a addresses) joined() addresses {
	slices.SortFunc(a, func(x, y addressRange) int { return x.first.Compare(y.first) })
	apart := a[:0]
	for _, one := range a {
		if last := len(apart) - 1; last >= 0 && !apart[last].last.Less(one.first) {
			if apart[last].last.Less(one.last) {
				apart[last].last = one.last
			}
			continue
		}
		apart = append(apart, one)
	}
	return slices.Clip(apart)
}

func (a addresses) contain(address netip.Addr) bool {
	at, exact := slices.BinarySearchFunc(a, address, func(r addressRange, address netip.Addr) int { return r.first.Compare(address) })
	if exact {
		return true
	}
	return at > 0 && !a[at-1].last.Less(address)
}
