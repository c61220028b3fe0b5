package load

import (
	"regexp"
	"sync"
)

// defaultUplink is the interface of an uplink that does not name one.
const defaultUplink = "up0"

// networkName and interfaceName are what CNI and the kernel allow.
var (
	networkName   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`) })
	interfaceName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9_]{0,14}$`) })
)

// uplinks checks what connects hosts to the outside. Whether the network and its
// plugins exist is the machine's matter, and asked when the lab comes up.
func (r *resolver) uplinks(ix *names) {
	taken := map[string]bool{}
	for i := range r.s.Uplink {
		u, path := &r.s.Uplink[i], item("uplink", i)
		if u.Interface == "" {
			u.Interface = defaultUplink
		}
		if !interfaceName().MatchString(u.Interface) || u.Interface == "lo" || u.Interface == "eth0" {
			r.fail(path+".interface", "", "interface %q, want at most 15 of [a-z0-9_], neither lo nor the host's own eth0", clip(u.Interface))
		}
		switch {
		case u.Network == "":
			r.missing(path, "network", "an uplink to no network, want the name in a CNI configuration list")
		case !networkName().MatchString(u.Network):
			r.fail(path+".network", "", "network %q, want letters, digits, '_', '.' and '-'", clip(u.Network))
		}
		if u.Host == "" {
			r.missing(path, "host", "an uplink of nothing, want host: such as web or shop.1.till")
			continue
		}
		for _, host := range r.target(ix, path+".host", u.Host, "a host such as web or shop.1.till", kindHost) {
			if at := host + " " + u.Interface; taken[at] {
				r.fail(path+".host", "", "%s has an uplink %s already, want another interface", host, u.Interface)
			} else {
				taken[at] = true
			}
		}
	}
}
