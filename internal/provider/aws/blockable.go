package aws

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/net/publicsuffix"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// The widest ranges that are blocked. An event names one address; whoever means a network may mean one of these,
// and what is wider is somebody's half of the Internet.
const (
	widest4 = 16
	widest6 = 32
)

// never lists what is no one's address on the Internet, with the reason why blocking it would hurt.
var never = []struct { //nolint:gochecknoglobals // a constant list
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("127.0.0.0/8"), "the host itself"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local: AWS's metadata, DNS and time services are there"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved or broadcast"},
	{netip.MustParsePrefix("::/96"), "the host itself or no address"},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64: all of IPv4 is behind it"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "AWS's metadata, DNS and time services are there"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// private lists what networks use inside.
var private = []netip.Prefix{ //nolint:gochecknoglobals // a constant list
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
}

// addressParam is the parameter of all actions that block an address.
func addressParam() action.Param {
	return action.Param{
		Name: "address", Type: action.String, Required: true, Entity: entity.IP,
		Doc: "The IPv4 or IPv6 address, or a range of at most a /16 (IPv6: /32).",
	}
}

// blockable reads an address or a range that may be blocked, and refuses what would cut more than an attacker.
func blockable(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if !strings.Contains(text, "/") {
		var one netip.Addr
		if one, err = netip.ParseAddr(text); err == nil && one.Zone() == "" {
			one = one.Unmap()
			prefix = netip.PrefixFrom(one, one.BitLen())
		}
	}
	if err != nil || !prefix.IsValid() || prefix.Addr().Is4In6() {
		return netip.Prefix{}, fault.New(fault.Invalid, "address: %q is neither an address nor a range such as 198.51.100.0/24", shorten(text))
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fault.New(fault.Invalid, "address: %s is not where a range begins; did you mean %s?", prefix, prefix.Masked())
	}
	if widest := widestOf(prefix); prefix.Bits() < widest {
		return netip.Prefix{}, fault.New(fault.Invalid, "address: %s is wider than a /%d and would cut off many who attack nobody", prefix, widest)
	}
	for _, special := range never {
		if special.prefix.Overlaps(prefix) {
			return netip.Prefix{}, fault.New(fault.Invalid, "address: %s is never blocked: it is %s", prefix, special.why)
		}
	}
	return prefix, nil
}

func widestOf(prefix netip.Prefix) int {
	if prefix.Addr().Is4() {
		return widest4
	}
	return widest6
}

func isPrivate(prefix netip.Prefix) bool {
	return slices.ContainsFunc(private, prefix.Overlaps)
}

// publicBlockable is blockable for where private addresses are of one's own networks.
func publicBlockable(text string) (netip.Prefix, error) {
	prefix, err := blockable(text)
	if err == nil && isPrivate(prefix) {
		return prefix, fault.New(fault.Invalid, "address: %s is private, and so of a network of your own; it is not blocked here", prefix)
	}
	return prefix, err
}

// notOurs refuses a range that Riposte itself or the account at a place stands on: addresses of the host and the
// instance that Riposte runs on, and the account's Elastic IP addresses.
func (c *Cloud) notOurs(ctx context.Context, at action.Place, prefix netip.Prefix) error {
	bound, err := net.InterfaceAddrs()
	if err != nil {
		return fault.New(fault.Transient, "read the host's own addresses: %w", err)
	}
	for _, each := range bound {
		if own, err := netip.ParsePrefix(each.String()); err == nil && prefix.Contains(own.Addr().Unmap()) {
			return fault.New(fault.Invalid, "address: %s holds %s, which is Riposte's own", prefix, own.Addr())
		}
	}
	for _, own := range c.Stands() {
		if own.Kind != entity.Instance {
			continue
		}
		found, err := c.instance(ctx, action.Input{Place: c.here(action.Place{}), Params: action.Params{"instance_id": own.ID}})
		if err != nil {
			return fmt.Errorf("look for Riposte's own address: %w", err)
		}
		if holds(prefix, aws.ToString(found.PublicIpAddress)) || holds(prefix, aws.ToString(found.PrivateIpAddress)) {
			return fault.New(fault.Invalid, "address: %s is of the instance %s, on which Riposte runs", prefix, own.ID)
		}
	}
	return c.notElastic(ctx, at, prefix)
}

func (c *Cloud) notElastic(ctx context.Context, at action.Place, prefix netip.Prefix) error {
	api, err := c.ec2(at)
	if err != nil {
		return err
	}
	found, err := api.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
	if err != nil {
		return fmt.Errorf("read the account's Elastic IP addresses: %w", classify(err))
	}
	for _, own := range found.Addresses {
		if public := aws.ToString(own.PublicIp); holds(prefix, public) {
			return fault.New(fault.Invalid, "address: %s holds %s, an Elastic IP address of account %s itself", prefix, public, at.Account)
		}
	}
	return nil
}

func holds(prefix netip.Prefix, address string) bool {
	parsed, err := netip.ParseAddr(address)
	return err == nil && prefix.Contains(parsed)
}

// labelForm is one label of a host's name (RFC 1123), with the underscore that names of services begin with.
var labelForm = shaped(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$`)

// spared lists domains that are never blocked, with all below them: what runs in AWS needs them, or they are
// names of one's own network.
var spared = []string{ //nolint:gochecknoglobals // a constant list
	"amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "amazon.com", "api.aws", "awsstatic.com", "amazontrust.com", "internal",
	"local", "localhost", "localdomain", "lan", "corp", "home", "arpa", "in-addr.arpa", "onion",
}

// blockableDomain reads a domain that may be blocked, in lower case and without a dot at its end.
func blockableDomain(text string) (string, error) {
	const longest = 253
	domain := strings.ToLower(strings.TrimSuffix(text, "."))
	labels := strings.Split(domain, ".")
	if len(domain) > longest || len(labels) < 2 || slices.ContainsFunc(labels, func(l string) bool { return !labelForm.MatchString(l) }) {
		return "", fault.New(fault.Invalid, "domain: %q is not a domain such as malware.example.net", shorten(text))
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return "", fault.New(fault.Invalid, "domain: %s is an address, which DNS doesn't ask for", domain)
	}
	for _, each := range spared {
		if domain == each || strings.HasSuffix(domain, "."+each) {
			return "", fault.New(fault.Invalid, "domain: %s is never blocked: what runs in AWS needs %s, or it is a name of an own network", domain, each)
		}
	}
	if suffix, _ := publicsuffix.PublicSuffix(domain); suffix == domain {
		return "", fault.New(fault.Invalid, "domain: %s is a suffix under which anybody may have a domain; name the one below it", domain)
	}
	return domain, nil
}
