package plan

import (
	"cmp"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const (
	defaultAccount = "default"
	defaultVNet    = "default"
)

// account is an account and where in the file it stands.
type account struct {
	*spec.Account
	path string
	name string
	id   ident.Tenant
}

// accountsOf are the scenario's accounts, ids from 1. A file that names none has one.
func accountsOf(s *spec.Scenario) []account {
	var all []account
	if s.Account != nil {
		all = append(all, account{Account: s.Account, path: "account"})
	}
	for i := range s.Accounts {
		all = append(all, account{Account: &s.Accounts[i], path: at("accounts", i)})
	}
	if len(all) == 0 {
		all = append(all, account{Account: &spec.Account{}, path: "account"})
	}
	for i := range all {
		all[i].id = ident.Tenant(i + 1)
		all[i].name = cmp.Or(all[i].ID, defaultAccount)
	}
	return all
}

// tenant finds an account by name; empty is the first.
func (b *builder) tenant(path, name string) (ident.Tenant, bool) {
	all := b.accounts
	if name == "" {
		return all[0].id, true
	}
	for _, a := range all {
		if a.name == name {
			return a.id, true
		}
	}
	b.fail(path+".account", "no account is called %q", name)
	return 0, false
}

// accountName is the name of an account.
func (b *builder) accountName(id ident.Tenant) string { return b.accounts[id-1].name }

// vnets are the account's virtual networks: 1 is the one called default that
// every account has, which is the default unless another says that it is
// (SEMANTICS 3.1); the others count from 2 in file order.
func (a account) vnets() []hub.VNet {
	all := []hub.VNet{{ID: route.DefaultVNet, Name: defaultVNet}}
	standard := 0
	for _, v := range a.VNets {
		i := 0
		if v.ID != defaultVNet {
			i = len(all)
			all = append(all, hub.VNet{ID: route.DefaultVNet + ident.VNet(i), Name: v.ID})
		}
		if v.Default {
			standard = i
		}
	}
	all[standard].Default = true
	return all
}

// legacy says whether the account keeps the planes of routes apart (SEMANTICS 2.1).
func (a account) legacy() bool { return a.Routing == "legacy" }

// vnet finds a virtual network by name; none means the default one.
func (a account) vnet(name string) (hub.VNet, bool) {
	all := a.vnets()
	i := slices.IndexFunc(all, func(v hub.VNet) bool { return v.Name == name || name == "" && v.Default })
	if i < 0 {
		return hub.VNet{}, false
	}
	return all[i], true
}
