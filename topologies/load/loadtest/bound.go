package loadtest

// Bound is a file whose 31 servers share an address that is an account's own, so
// that the 40,000 flows toward one remote end are the bound that is met first
// (SEMANTICS EG-7, SU-2). Its traffic is for each test to add.
const Bound = `version: 1
name: bound
seed: 7
datacenters: [{id: lhr, servers: 31, egress: [198.51.100.0/32]}]
account: {dedicated: [{ipv4: 192.0.2.33, datacenter: lhr}]}
sites: [{id: shop, count: 2, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet:
  - {id: web, address: 203.0.113.9, near: lhr, serve: [echo]}
  - {id: other, address: 203.0.113.10, near: lhr, serve: [echo]}
traffic:
`
