package auth_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/fault"
)

func TestTooManyAttempts(t *testing.T) {
	t.Parallel()
	clock := newClock()
	token, hash := generate(t)
	k := keeper(t, auth.Config{Tokens: []auth.Token{{Name: "ann", SHA256: hash, Roles: []auth.Role{auth.Admin}}}}, clock.Now)
	fail := func(from string, n int) error {
		var err error
		for range n {
			_, err = k.Who(request(from, "Bearer nobody"))
		}
		if !errors.Is(err, auth.ErrUnauthenticated) || !fault.Is(err, fault.Denied) {
			t.Errorf("%s: got %v, want it denied as unauthenticated", from, err)
		}
		return err
	}
	for from, neighbour := range map[string]string{
		"192.0.2.1:1000":                "192.0.2.1:2000",
		"[2001:db8::1]:1":               "[2001:db8:0:0:ffff::2]:1",
		"[::ffff:198.51.100.1]:1":       "198.51.100.1:1",
		"@":                             "",
		"[fe80::1%eth0]:1":              "[fe80::2%eth1]:1",
		"[2001:db8:0:1::1]:99999999999": "not an address", // as "@" above: whatever is no address is one
	} {
		if from[0] != '@' && neighbour != "not an address" {
			if err := fail(from, 20); errors.Is(err, auth.ErrTooMany) {
				t.Errorf("%s: 20 attempts are too many", from)
			}
		} else {
			_ = fail(from, 20)
		}
		if err := fail(neighbour, 1); !errors.Is(err, auth.ErrTooMany) {
			t.Errorf("%s: got %v, want too many", neighbour, err)
		}
		if _, err := k.Who(request(from, "Bearer "+token)); err != nil {
			t.Errorf("%s: the right token is not let in: %v", from, err)
		}
	}
	if err := fail("192.0.2.2:1000", 1); errors.Is(err, auth.ErrTooMany) {
		t.Error("another address pays for the first")
	}
	clock.move(time.Minute)
	if err := fail("192.0.2.1:1000", 1); errors.Is(err, auth.ErrTooMany) {
		t.Error("a minute later it is still too many")
	}
}

func TestManyAddressesAtOnce(t *testing.T) {
	t.Parallel()
	k := keeper(t, auth.Config{}, newClock().Now)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 5000 {
				_, err := k.Who(request(fmt.Sprintf("10.%d.%d.%d:1", worker, i/256, i%256)))
				if !errors.Is(err, auth.ErrUnauthenticated) || errors.Is(err, auth.ErrTooMany) {
					t.Errorf("got %v, want it unauthenticated and no more", err)
				}
			}
		})
	}
	all.Wait()
}
