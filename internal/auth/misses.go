package auth

import (
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// tolerated is how many failed attempts of one address in a while are answered as such.
	tolerated = 20
	while     = time.Minute
	// addresses is how many addresses are counted at a time.
	addresses = 4096
)

// misses counts failed attempts by address, in a bounded number of places. Tokens can't be guessed; counting
// is for the edge, which can answer less and log less to somebody who keeps trying.
type misses struct {
	mu     sync.Mutex
	counts map[netip.Prefix]*count
}

type count struct {
	since  time.Time
	failed int
}

func newMisses() *misses { return &misses{counts: map[netip.Prefix]*count{}} }

// Missed counts a failed attempt of a request that has no token, such as one for a link that there isn't, and
// reports whether its address had too many in the last minute.
func (k *Keeper) Missed(r *http.Request) bool { return k.misses.add(r.RemoteAddr, k.now()) }

// add counts a failure and reports whether there were too many.
func (m *misses) add(address string, now time.Time) bool {
	from := network(address)
	m.mu.Lock()
	defer m.mu.Unlock()
	c, counted := m.counts[from]
	if !counted || now.Sub(c.since) >= while {
		m.makeRoom(now)
		c = &count{since: now}
		m.counts[from] = c
	}
	if c.failed <= tolerated {
		c.failed++
	}
	return c.failed > tolerated
}

// makeRoom forgets what is over and, where that isn't enough, a quarter of all, whichever.
func (m *misses) makeRoom(now time.Time) {
	if len(m.counts) < addresses {
		return
	}
	for from, c := range m.counts {
		if now.Sub(c.since) >= while {
			delete(m.counts, from)
		}
	}
	for from := range m.counts {
		if len(m.counts) < addresses*3/4 {
			return
		}
		delete(m.counts, from)
	}
}

// network is the address, or for IPv6 the network that one customer gets. Whatever is no address is one.
func network(address string) netip.Prefix {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Prefix{}
	}
	ip := parsed.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	found, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return found
}
