package load

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// devices checks client devices.
func (r *resolver) devices(accounts map[string]*spec.Account) {
	for i := range r.s.Devices {
		o := &r.s.Devices[i]
		if o.ID == "" {
			continue // refused already, and hard to speak of
		}
		path := instance("devices", o.ID, o.Instance)
		r.account(path+".account", o.Account, accounts)
		r.vnet(path+".vnet", o.VNet, accounts[o.Account])
		r.user(path+".user", o.User)
		r.mtu(path+".mtu", o.MTU, minMTU)
		r.switches(path+".switch", o, accounts[o.Account])
	}
}

// user checks who uses a device: policies compare the name, and it goes onto the
// wire and into records.
func (r *resolver) user(path, name string) {
	if len(name) > tunnel.MaxUser {
		r.fail(path, "", "user of %d bytes, want at most %d", len(name), tunnel.MaxUser)
	}
	if strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
		r.fail(path, "", "user %s is not printable", strconv.Quote(clip(name)))
	}
}

// switches checks a device's later choices: each later than the one before.
func (r *resolver) switches(path string, o *spec.Device, a *spec.Account) {
	last := time.Duration(0)
	for i, w := range o.Switch {
		at := item(path, i)
		switch {
		case w.At == 0 && !r.present(at+".at"):
			r.missing(at, "at", "a switch without a time, want at: such as 3s")
		case w.At.D() <= last && r.refused(at+".at") == "":
			r.fail(at+".at", "", "at %s, want later than %s: choices are in order of time", w.At, last)
		}
		last = max(last, w.At.D())
		r.vnet(at+".vnet", w.VNet, a)
	}
}

// connectors checks private networks behind outbound tunnels.
func (r *resolver) connectors(accounts map[string]*spec.Account) {
	for i := range r.s.Connectors {
		o := &r.s.Connectors[i]
		if o.ID == "" {
			continue
		}
		path := "connectors." + o.ID
		r.lan(path, o.Lan)
		r.private(path+".lan", o.Lan)
		r.hosts(path, r.connectorPart(), o.Lan, o.Hosts)
		r.gateway(path, o.Lan, o.Gateway, o.Hosts)
		r.natRoom(path+".lan", o)
		r.account(path+".account", o.Account, accounts)
		r.vnet(path+".vnet", o.VNet, accounts[o.Account])
		least := minMTU
		if o.Lan.Addr().Is6() {
			least = minMTU6
		}
		r.mtu(path+".mtu", o.MTU, least)
	}
}

// private refuses what is not a private network, or is the network's own.
func (r *resolver) private(path string, lan netip.Prefix) {
	if !lan.IsValid() || r.refused(path) != "" {
		return
	}
	if kept, into := route.ReservedBy(lan); into {
		r.fail(path, "", "lan %s, but %s is reserved for %s", lan, kept.Prefix, kept.For)
	} else if !spec.IsPrivate(lan) {
		r.fail(path, "", "lan %s is not private, want a part of %s", lan, spec.PrivateRanges)
	}
}

// natRoom checks that a translating connector has a second address of its own.
func (r *resolver) natRoom(path string, o *spec.Connector) {
	if o.Source != spec.Translate || !o.Lan.IsValid() || !o.Gateway.IsValid() {
		return
	}
	taken := map[string]spec.Host{"": {Address: o.Gateway}}
	for name, h := range o.Hosts {
		taken[name] = h
	}
	if !firstFree(o.Lan, taken).IsValid() {
		r.fail(path, "", "lan %s has no address left for the connector to translate sources to, want a wider one or source: preserve", o.Lan)
	}
}

// mtu checks the MTU of a tunnel, where one is given.
func (r *resolver) mtu(path string, mtu, least int) {
	if mtu != 0 && (mtu < least || mtu > maxMTU) {
		r.fail(path, "", "mtu %d, want %d to %d", mtu, least, maxMTU)
	}
}

// interconnect checks the words that one type of on-ramp alone has.
func (r *resolver) interconnect(path string, ramp *spec.OnRamp) {
	plain := ramp.Type == string(tunnel.Interconnect)
	vlan := path + ".vlan"
	switch {
	case !r.present(vlan) || r.refused(vlan) != "":
	case !plain:
		r.fail(vlan, "", "vlan belongs to type: interconnect, not to %s", ramp.Type)
	case ramp.VLAN < minVLAN || ramp.VLAN > maxVLAN:
		r.fail(vlan, "", "vlan %d, want %d to %d", ramp.VLAN, minVLAN, maxVLAN)
	}
	if plain && ramp.Key != nil {
		r.fail(path+".key", "", "key belongs to type: gre, an interconnect has none")
	}
}

// VLAN tags that mean one (IEEE 802.1Q): 0 is none and 4095 is reserved.
const (
	minVLAN = 1
	maxVLAN = 4094
)

// translated checks that no flow begins behind a connector that translates.
func (r *resolver) translated(ix *names, path string, from []string) {
	for _, id := range from {
		if connector := ix.translated[id]; connector != "" {
			r.fail(path, "", "%s is behind %s, which translates sources: it can open no flows, want source: preserve there", id, connector)
			return
		}
	}
}

// implied checks the routes that nobody writes: to the private network of each
// connector that no route names.
func (r *resolver) implied(book *routeBook) {
	accounts := r.byAccount()
	for i := range r.s.Connectors {
		c := &r.s.Connectors[i]
		if !c.Lan.IsValid() || book.named[c.ID] {
			continue
		}
		path := "connectors." + c.ID + ".lan"
		key := routeKey{account: c.Account, vnet: vnetName(c.VNet, accounts[c.Account]), prefix: c.Lan, hop: toConnector}
		if first, twice := book.seen[key]; twice {
			where := r.mistake(first, "", "")
			r.fail(path, "", "the route to lan %s would be a second one in virtual network %s (error 1014), first in line %d", c.Lan, key.vnet, where.Line)
			continue
		}
		book.seen[key] = path
	}
}

// toConnector stands for every connector in a routeKey.
const toConnector = "connector"

// routeBook is what is known of an account's routes.
type routeBook struct {
	seen  map[routeKey]string // → path of the first
	named map[string]bool     // connectors that a route names
}

// gone says that a virtual network is in the file and a setting took it away
// (SEMANTICS VN-6).
func (r *resolver) gone(id string, a *spec.Account) bool {
	has := func(o *spec.Account) bool {
		if o == nil || o.ID != "" && o.ID != a.ID {
			return false
		}
		for _, v := range o.VNets {
			if v.ID == id {
				return true
			}
		}
		return false
	}
	found := has(r.file.spec.Account)
	for i := range r.file.spec.Accounts {
		found = found || has(&r.file.spec.Accounts[i])
	}
	return found
}

// partOf is what a host or on-ramp is a part of, and the words that mean
// something there.
type partOf struct {
	what  string
	words []string
}

func (r *resolver) sitePart() partOf      { return partOf{"a site", r.doc.words.site()} }
func (r *resolver) connectorPart() partOf { return partOf{"a connector", r.doc.words.connector()} }

// undealt checks the places of a site or device that no instance was dealt.
func (r *resolver) undealt(list, id string, near spec.Near, dcs []string) {
	path := fmt.Sprintf("%s.%s.near", list, id)
	if r.wasSet(path) {
		return
	}
	for _, p := range near {
		r.code(path+"."+p.Code, p.Code, dcs)
	}
}
