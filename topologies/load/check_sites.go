package load

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// MTU bounds of a tunnel: what IPv4 hosts must accept (RFC 791), what every link
// of IPv6 passes (RFC 8200 section 5), and what no link of the lab does.
const (
	minMTU  = 576
	minMTU6 = 1280
	maxMTU  = 9000
)

func (r *resolver) sites() {
	accounts := r.byAccount()
	for i := range r.s.Sites {
		o := &r.s.Sites[i]
		if o.ID == "" {
			continue // refused already, and hard to speak of
		}
		path := instance("sites", o.ID, o.Instance)
		r.lan(path, o.Lan)
		r.hosts(path, r.sitePart(), o.Lan, o.Hosts)
		r.gateway(path, o.Lan, o.Gateway, o.Hosts)
		r.account(path+".account", o.Account, accounts)
		r.asn(path, o.ASN)
		r.onramps(path, o, accounts[o.Account])
		r.group(path, o)
		r.cpe(path, o)
	}
	r.devices(accounts)
	r.connectors(accounts)
	for i := range r.s.Internet {
		o := &r.s.Internet[i]
		if !o.Address.IsValid() {
			path := instance("internet", o.ID, o.Instance)
			r.missing(path, "address", "an Internet host without address, want one such as 203.0.113.9")
			if o.Instance > 1 && r.refused(path+".address") == "" && r.present(path+".address") {
				r.fail(path+".address", "", "addresses run past the last one there is")
			}
		}
	}
}

// lan checks the prefix of a private network.
func (r *resolver) lan(path string, lan netip.Prefix) {
	path += ".lan"
	switch {
	case !lan.IsValid():
		r.missing(strings.TrimSuffix(path, ".lan"), "lan", "no lan, want a prefix such as 10.0.1.0/24")
	case tight(lan):
		r.fail(path, "", "lan %s has no room for a gateway and a host, want /%d or wider", lan, lan.Addr().BitLen()-2)
	case lan.Bits() == 0:
		r.fail(path, "", "lan %s is everything, want a prefix such as 10.0.1.0/24", lan)
	default:
		if own, yes := kept(lan); yes {
			r.fail(path, "", "lan %s overlaps %s, which the lab keeps for itself", lan, own)
		} else if why := notUnicast(lan); why != "" {
			r.fail(path, "", "lan %s is %s", lan, why)
		}
	}
}

// hosts checks names and addresses in a private network.
func (r *resolver) hosts(path string, part partOf, lan netip.Prefix, hosts map[string]spec.Host) {
	owner := map[netip.Addr]string{}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		at := path + ".hosts." + name
		r.partName(at, part, name)
		if run := hosts[name].Run; r.present(at+".run") && (len(run) == 0 || run[0] == "") {
			r.fail(at+".run", "", "run without a program, want [program, argument, …]")
		} else if len(run) == 1 && strings.Contains(run[0], " ") {
			r.fail(at+".run", "["+strings.Join(strings.Fields(run[0]), ", ")+"]", "run is no shell's line, want [program, argument, …]")
		}
		addr := hosts[name].Address
		if !addr.IsValid() {
			r.missing(at, "address", "a host without address")
			continue
		}
		if lan.IsValid() && !usable(lan, addr) {
			r.fail(at+".address", "", "host %s has %s, which is %s %s", name, addr, outside(lan, addr), lan)
		}
		if other, taken := owner[addr]; taken {
			r.fail(at+".address", "", "hosts %s and %s both have %s", other, name, addr)
		}
		owner[addr] = name
	}
}

// outside says why an address cannot be that of a host of the lan.
func outside(lan netip.Prefix, addr netip.Addr) string {
	switch {
	case !lan.Contains(addr):
		return "outside its lan"
	case addr == lan.Masked().Addr():
		return "the network address of its lan"
	default:
		return "the broadcast address of its lan"
	}
}

// partName checks the name of a host or on-ramp, which selectors find beside
// the words of what it is in.
func (r *resolver) partName(path string, part partOf, name string) {
	if !r.word(path, "name", name) {
		return
	}
	if name == "router" || slices.Contains(part.words, name) {
		r.fail(path, "", "%q means something else in %s, want another name", name, part.what)
	}
}

func (r *resolver) gateway(path string, lan netip.Prefix, gateway netip.Addr, hosts map[string]spec.Host) {
	if !gateway.IsValid() {
		if !lan.IsValid() || tight(lan) {
			return // said already
		}
		r.fail(path+".lan", "", "lan %s has no address left for the gateway", lan)
		return
	}
	if lan.IsValid() && !usable(lan, gateway) {
		r.fail(path+".gateway", "", "gateway %s is %s %s", gateway, outside(lan, gateway), lan)
	}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		if hosts[name].Address == gateway {
			r.fail(path+".gateway", "", "gateway %s is the address of host %s", gateway, name)
		}
	}
}

func (r *resolver) onramps(path string, o *spec.Site, a *spec.Account) {
	if len(o.OnRamps) == 0 {
		if r.present(path + ".onramps") {
			if r.refused(path+".onramps") == "" {
				r.fail(path+".onramps", "", "no on-ramps, want at least one such as {id: wan, type: gre}")
			}
		} else {
			r.missing(path, "onramps", "no on-ramps, want onramps: [{id: wan, type: gre}]")
		}
	}
	seen := map[string]bool{}
	for k := range o.OnRamps {
		ramp := &o.OnRamps[k]
		at := fmt.Sprintf("%s.onramps[%d]", path, k)
		switch {
		case ramp.ID == "":
			r.missing(at, "id", "an on-ramp without id")
		case seen[ramp.ID]:
			r.fail(at+".id", "", "two on-ramps are called %q", ramp.ID)
		default:
			r.partName(at+".id", r.sitePart(), ramp.ID)
			if _, clash := o.Hosts[ramp.ID]; clash {
				r.fail(at+".id", "", "%q is a host and an on-ramp of one site", ramp.ID)
			}
		}
		seen[ramp.ID] = true
		if ramp.Type == "" {
			r.missing(at, "type", "an on-ramp without type, want type: gre")
		}
		least := minMTU
		if o.Lan.Addr().Is6() {
			least = minMTU6
		}
		r.mtu(at+".mtu", ramp.MTU, least)
		r.interconnect(at, ramp)
		r.health(at, ramp)
		if ramp.ARR && a != nil && a.Routing == "legacy" {
			// SEMANTICS 1.2, ARR-9.
			r.fail(at+".arr", "", "automatic return routing needs routing: unified, but account %s has routing: legacy", a.ID)
		}
	}
}
