package courier

import (
	"net"
	"net/url"

	"github.com/riposte-sec/riposte/internal/fault"
)

// CheckURL says whether an address from the configuration may be posted to: https, or http to this very
// machine, with nobody's name and password in it. Its errors don't quote the address, which may be secret.
func CheckURL(address string) error {
	parsed, err := url.Parse(address)
	switch {
	case err != nil || parsed.Host == "" || parsed.Hostname() == "":
		return fault.New(fault.Invalid, "not a URL such as https://host/path")
	case parsed.User != nil:
		return fault.New(fault.Invalid, "a user or password in a URL is not read; use a header")
	case parsed.Fragment != "":
		return fault.New(fault.Invalid, "a URL that is posted to has no #fragment")
	case parsed.Scheme == "https":
		return nil
	case parsed.Scheme != "http":
		return fault.New(fault.Invalid, "not an https URL")
	case !Local(parsed.Hostname()):
		return fault.New(fault.Invalid, "http is for this machine only; use https")
	}
	return nil
}

// Local reports whether a host is this very machine.
func Local(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
