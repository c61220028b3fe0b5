package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// TestOwned: of a prefix that a customer brings along every address is the
// account's, in slices like any other; it is announced whole, and no geofeed of the
// network's speaks of it. SEMANTICS 5.1, 6.1.
func TestOwned(t *testing.T) {
	s := relayed()
	s.Routes = nil
	s.Datacenters[0].Egress = []spec.Egress{{Prefix: prefix("198.51.100.0/31"), Country: "gb"}}
	s.Datacenters[1].Servers = 3
	s.Account = &spec.Account{
		Dedicated: []spec.Dedicated{{Owned: prefix("203.0.113.128/30"), Datacenter: "cdg"}, {IPv4: addr("192.0.2.9"), Datacenter: "lhr"}},
		Policies:  spec.Policies{Egress: []spec.Policy{{ID: "ours", Action: "dedicated", IPv4: addr("203.0.113.130"), Fallback: addr("192.0.2.9")}}},
	}
	p, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	owned := 0
	for _, a := range p.Servers[0].Config.Egress {
		if !prefix("203.0.113.128/30").Contains(a.Addr) {
			continue
		}
		owned++
		if a.Tenant != 1 || a.Datacenter != 2 || a.Country != "" || a.Owner[1] != 2 || a.Owner[3] != 4 || a.Owner[4] != 0 {
			t.Errorf("%v is %+v, want account 1's in Paris, in slices of its three servers, without country", a.Addr, a)
		}
	}
	if owned != 4 {
		t.Errorf("%d addresses of the customer's, want all 4", owned)
	}
	if !slices.Contains(p.anycast(), prefix("203.0.113.128/30")) {
		t.Errorf("announced are %v, want the customer's prefix among them", p.anycast())
	}
	for _, x := range p.Published() {
		if x.Prefix.Overlaps(prefix("203.0.113.128/30")) {
			t.Errorf("%v is published, with country %q: want nothing of it", x.Prefix, x.Country)
		}
	}
	s.Account.Dedicated[0].Country = "jp"
	s.Internet = []spec.InternetHost{{ID: "bank", Address: addr("203.0.113.9"), Geofence: []string{"jp"}, Serve: []string{"http"}}}
	if p, err = Compile(s); err != nil {
		t.Fatal(err)
	}
	if n := len(p.Services[0].Allow); n != 4 {
		t.Errorf("a geofence of Japan lets %d addresses pass, want the 4 whose owner says that they are there", n)
	}
	s.Account.Dedicated[0].Owned = prefix("198.51.100.0/30")
	if _, err = Compile(s); err == nil || !strings.Contains(err.Error(), "overlaps the egress range") {
		t.Errorf("a prefix of everybody's is taken for one account's: %v", err)
	}
}
