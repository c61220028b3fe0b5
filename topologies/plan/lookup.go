package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Node finds a node by id.
func (p *Plan) Node(id string) (*Node, bool) {
	i, ok := slices.BinarySearchFunc(p.Nodes, id, func(n Node, id string) int { return cmp.Compare(n.ID, id) })
	if !ok {
		return nil, false
	}
	return &p.Nodes[i], true
}

// Server finds the edge server that is a node.
func (p *Plan) Server(node string) (*Server, bool) {
	i := slices.IndexFunc(p.Servers, func(s Server) bool { return s.Node == node })
	if i < 0 {
		return nil, false
	}
	return &p.Servers[i], true
}

// Branch finds the branch that is a node.
func (p *Plan) Branch(node string) (*Branch, bool) {
	i := slices.IndexFunc(p.Branches, func(b Branch) bool { return b.Node == node })
	if i < 0 {
		return nil, false
	}
	return &p.Branches[i], true
}

// Names turns the dataplane's numbers back into the file's names.
type Names struct {
	Tenants     map[ident.Tenant]string
	OnRamps     map[ident.OnRamp]string
	Servers     map[ident.Server]string
	Datacenters map[ident.Datacenter]string
	// VNets by tenant: numbers are a tenant's own.
	VNets map[ident.Tenant]map[ident.VNet]string
}

// Names makes the tables; 0 has no name in any of them.
func (p *Plan) Names() Names {
	n := Names{
		Tenants: map[ident.Tenant]string{}, OnRamps: map[ident.OnRamp]string{}, Servers: map[ident.Server]string{},
		Datacenters: map[ident.Datacenter]string{}, VNets: map[ident.Tenant]map[ident.VNet]string{},
	}
	for _, d := range p.Datacenters {
		n.Datacenters[d.ID] = d.Name
	}
	for i, s := range p.Servers {
		n.Servers[s.Config.Self] = s.Node
		if i > 0 {
			continue // the rest is the same on every server
		}
		for _, t := range s.Config.Tenants {
			n.Tenants[t.ID] = t.Name
			n.VNets[t.ID] = map[ident.VNet]string{}
			for _, v := range t.VNets {
				n.VNets[t.ID][v.ID] = v.Name
			}
		}
		for _, o := range s.Config.OnRamps {
			n.OnRamps[o.ID] = o.Name
		}
	}
	return n
}

// Fingerprint is the SHA-256 of the plan as JSON, 64 hex digits: equal plans
// have equal ones, and no others do.
func (p *Plan) Fingerprint() string {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(p); err != nil {
		// A plan is plain data without a float that JSON lacks.
		panic("plan: " + err.Error())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// hardware writes a MAC as people do, where encoding/json would write base64.
type hardware net.HardwareAddr

// MarshalText writes "02:00:00:00:00:01".
func (m hardware) MarshalText() ([]byte, error) { return []byte(net.HardwareAddr(m).String()), nil }

// UnmarshalText reads what MarshalText writes.
func (m *hardware) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = nil
		return nil
	}
	a, err := net.ParseMAC(string(text))
	*m = hardware(a)
	return err
}

type (
	plainEndpoint Endpoint
	jsonEndpoint  struct {
		*plainEndpoint
		MAC         hardware `json:"mac"`
		NeighborMAC hardware `json:"neighbor_mac,omitempty"`
	}
	plainTunnel BranchTunnel
	jsonTunnel  struct {
		*plainTunnel
		MAC     hardware `json:"mac"`
		PeerMAC hardware `json:"peer_mac"`
	}
	plainInterconnect Interconnect
	jsonInterconnect  struct {
		*plainInterconnect
		MAC     hardware `json:"mac"`
		SiteMAC hardware `json:"site_mac"`
	}
)

// MarshalJSON writes the MAC as text.
func (e Endpoint) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonEndpoint{(*plainEndpoint)(&e), hardware(e.MAC), hardware(e.NeighborMAC)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (e *Endpoint) UnmarshalJSON(b []byte) error {
	j := jsonEndpoint{plainEndpoint: (*plainEndpoint)(e)}
	err := json.Unmarshal(b, &j)
	e.MAC, e.NeighborMAC = net.HardwareAddr(j.MAC), net.HardwareAddr(j.NeighborMAC)
	return err
}

// MarshalJSON writes the MACs as text.
func (t BranchTunnel) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonTunnel{(*plainTunnel)(&t), hardware(t.MAC), hardware(t.PeerMAC)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *BranchTunnel) UnmarshalJSON(b []byte) error {
	j := jsonTunnel{plainTunnel: (*plainTunnel)(t)}
	err := json.Unmarshal(b, &j)
	t.MAC, t.PeerMAC = net.HardwareAddr(j.MAC), net.HardwareAddr(j.PeerMAC)
	return err
}

// MarshalJSON writes the MACs as text.
func (i Interconnect) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonInterconnect{(*plainInterconnect)(&i), hardware(i.MAC), hardware(i.SiteMAC)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (i *Interconnect) UnmarshalJSON(b []byte) error {
	j := jsonInterconnect{plainInterconnect: (*plainInterconnect)(i)}
	err := json.Unmarshal(b, &j)
	i.MAC, i.SiteMAC = net.HardwareAddr(j.MAC), net.HardwareAddr(j.SiteMAC)
	return err
}
