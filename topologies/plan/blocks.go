package plan

import (
	"net/netip"
	"slices"
)

// routable is the longest prefix of IPv4 that the Internet's routers take from
// anybody (SEMANTICS 5.1).
const routable = 24

// Block is a prefix that datacenters announce.
type Block struct {
	Prefix netip.Prefix
	From   []string
}

// Blocks are, for each egress address of IPv4, the block that the Internet has to
// know for it and who announces that: addresses share a block only if they are
// announced from the same datacenters (SEMANTICS 5.6).
func (p *Plan) Blocks() map[netip.Addr]Block {
	if len(p.Servers) == 0 {
		return nil
	}
	all := map[netip.Addr]Block{}
	for _, a := range p.Servers[0].Config.Egress {
		if !a.Addr.Is4() {
			continue
		}
		known := p.announcedAs(a.Addr)
		var from []string
		for _, d := range p.Datacenters {
			if !slices.Contains(p.Withheld, Announcement{d.Name, known}) {
				from = append(from, d.Name)
			}
		}
		block, _ := a.Addr.Prefix(routable)
		all[a.Addr] = Block{block, from}
	}
	return all
}
