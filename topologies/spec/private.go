package spec

import "net/netip"

// Preserve and Translate are the words of Connector.Source.
const (
	Preserve  = "preserve"
	Translate = "translate"
)

// PrivateRanges are those of IsPrivate, for messages.
const PrivateRanges = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918), 100.64.0.0/10 (RFC 6598) or fc00::/7 (RFC 4193)"

// IsPrivate says whether every address of a prefix is one that is not routed on
// the Internet and may be in a private network.
func IsPrivate(p netip.Prefix) bool {
	for _, text := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"} {
		if r := netip.MustParsePrefix(text); p.IsValid() && r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
			return true
		}
	}
	return false
}
