package spec

import (
	"fmt"
	"slices"
	"strconv"
)

// Protocols are the IP protocols that have a name.
func Protocols() []string { return []string{"tcp", "udp", "icmp"} }

// DNS is the word of InternetHost.Serve for a resolver, and DefaultView that of
// InternetHost.Resolves for whoever is in none of its countries.
const (
	DNS         = "dns"
	DefaultView = "default"
)

// ParseProtocol reads the name of an IP protocol, or its number.
func ParseProtocol(s string) (uint8, error) {
	if i := slices.Index(Protocols(), s); i >= 0 {
		return [...]uint8{6, 17, 1}[i], nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("protocol %q, want tcp, udp, icmp or a number from 0 to 255", s)
	}
	return uint8(n), nil
}
