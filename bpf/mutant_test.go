package bpf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/homeward-lab/homeward/dataplane/conform"
	"github.com/homeward-lab/homeward/internal/need"
)

// mutant is a mistake in the C source.
type mutant struct {
	name, file, right, wrong string
}

var mutants = []mutant{
	{"a TTL that is over", "progress.h", "in->ttl <= 1", "in->ttl < 1"},
	{"a TTL that stays", "translate.h", "ip->ttl--;", ""},
	{"a hop limit that stays", "translate.h", "ip->hop_limit--;", ""},
	{"the byte order of the TTL's word", "translate.h", "~bpf_htons(0x100)", "~0x100"},
	{"half of an address left out of a checksum", "translate.h", "words(~old.second)", "0"},
	{"a port in another byte order", "translate.h", "bpf_htons(v->port)", "v->port"},
	{"no zero checksum of UDP", "translate.h", "if (c->udp && !*sum)\n\t\treturn true;", ""},
	{"a port left out of a checksum", "translate.h", "(__u16)~c->from + c->to", "0"},
	{"no tenant in the key", "onramp.h", "k.tenant = r->tenant;", ""},
	{"no scope in the key", "onramp.h", "k.scope = r->scope;", ""},
	{"no virtual network in the key", "onramp.h", "k.vnet = r->vnet;", ""},
	{"a flow that another member of the group may use", "onramp.h", "r->flags & RAMP_GROUPED && f->onramp != a->ramp", "false"},
	{"what must stay is handed over", "onramp.h", "if (!a->kept)", "if (1)"},
	{"a second hop that may hand on", "onramp.h", "a->ramp | CONTEXT_SECOND", "a->ramp"},
	{"a SYN that takes the second hop", "onramp.h", "!to || v->in.flags & TCP_SYN", "!to"},
	{"a TTL that is over at the second hop", "onramp.h", "v->in.ttl <= 1", "false"},
	{"a flow that is here is handed back", "onramp.h", "else if (!a->hops)", "else"},
	{"what is not here stays here", "onramp.h", "second ? pass_on(v, &k, a) : LEFT_MISS", "pass_on(v, &k, a)"},
	{"echo to the hub itself", "onramp.h", "|| to_hub_itself(r, in)", ""},
	{"the egress address of another block", "onramp.h", "slot >>= SLICE_SHIFT;", "slot >>= SLICE_SHIFT + 1;"},
	{"only the first place of the index", "onramp.h", "i < INDEX_PROBES", "i < 1"},
	{"another hash", "hash.h", "rotate(b, 27)", "rotate(b, 28)"},
	{"another bucket", "onramp.h", "64 - BUCKET_BITS", "63 - BUCKET_BITS"},
	{"172.16.0.0/12 too narrow", "hash.h", "four >> 20 == (172 << 4 | 1)", "four >> 16 == (172 << 8 | 16)"},
	{"192.168.0.0/16 forgotten", "hash.h", "four >> 16 == (192 << 8 | 168)", "false"},
	{"fc00::/7 too narrow", "hash.h", "hi >> 57 == 0xfc >> 1", "hi >> 56 == 0xfd"},
	{"any remote port", "reply.h", "f->remote_port == in->src_port &&", ""},
	{"any remote address", "reply.h", "&& same_address(&f->remote, &in->src)", ""},
	{"any protocol", "reply.h", "f->proto == in->proto &&", ""},
	{"another slice", "reply.h", "in->dst_port >> SLICE_SHIFT", "(in->dst_port + 1) >> SLICE_SHIFT"},
	{"a byte too big for the tunnel", "reply.h", "wire_size(in, gso) > r->mtu", "wire_size(in, gso) > r->mtu + 1"},
	{"one hop too many", "verdict.h", "hops >= HOPS_MAX", "hops > HOPS_MAX"},
	{"hops that are not counted", "verdict.h", "(hops + 1) << 24", "(hops ? hops : 1) << 24"},
	{"anybody hands over", "ingress.h", "!at || at->kind != PLACE_PEER", "!at"},
	{"a context that is none", "ingress.h", "context & CONTEXT_UNUSED ||", ""},
	{"GRE flags ignored", "ingress.h", "g->flags & ~bpf_htons(GRE_KEY) ||", ""},
	{"one family says the other", "ingress.h", "type != inner_type(v)", "false"},
	{"any address that is near", "table.h", "if (same_address(&e->address, a))", "if (1)"},
	{"any key", "ingress.h", "t->key = t->has_key ? g->key : 0;", ""},
	{"fragments taken for whole", "parse.h", "ip->frag_off & bpf_htons(IP_FRAGMENT_MASK)", "false"},
	{"a header whose checksum is wrong", "parse.h", "&& ipv4_sound(ip)", ""},
	{"a length that lies", "parse.h", "bpf_ntohs(ip->tot_len) == len &&", ""},
	{"options taken for ports", "parse.h", "ip->ihl == 5 &&", ""},
	{"a TCP header beyond the end", "parse.h", "|| in->l4 + head > p->len", ""},
	{"a UDP length that lies", "parse.h", "|| in->l4 + size > p->len", ""},
	{"UDP over IPv6 without checksum", "parse.h", "|| (in->version == 6 && !udp[3])", ""},
	{"IPv4 in IPv6's clothes", "parse.h", "is_mapped(&in->src) ||", ""},
	{"the byte order of a sequence number", "parse.h", "bpf_ntohl(tcp->seq)", "tcp->seq"},
	{"acknowledged and not sent", "progress.h", "|| after(in->ack, end)", ""},
	{"sequence numbers compared as numbers", "progress.h", "(__s32)(a - b) > 0", "a > b"},
	{"beyond any window", "progress.h", "seq - acked <= WINDOW_MAX", "true"},
	{"one less than the window", "progress.h", "<= WINDOW_MAX", "< WINDOW_MAX"},
	{"retransmissions that count", "progress.h", "*bytes += in->ack - *acked;", "*bytes += in->payload;"},
	{"FIN that the hub does not follow", "progress.h", "f->closing = 1;", ""},
	{"SYN that the hub does not see", "progress.h", "in->flags & (TCP_SYN | TCP_FIN | TCP_RST)", "in->flags & (TCP_FIN | TCP_RST)"},
	{"an outer header that may be cut", "outer.h", "ip->frag_off = bpf_htons(IP_DF);", "ip->frag_off = 0;"},
	{"an outer length without the key", "outer.h", "bpf_htons(outer_size(v) + v->in.len)", "bpf_htons(24 + v->in.len)"},
	{"an outer header that is silent of congestion", "outer.h", "bpf_htons(0x4500 | v->ecn)", "bpf_htons(0x4500)"},
	{"a mark that is lost with the tunnel", "outer.h", "v->ecn != v->in.ecn && !remark(data, end, v)", "false"},
	{"a mark left out of a checksum", "ecn.h", "(__u16)~bpf_htons(old) + bpf_htons(ip->tos)", "0"},
	{"a mark on what understands none", "ingress.h", "if (v->ecn == ECN_DROP)", "if (false)"},
	{"ECT(1) on the outside forgotten", "ecn.h", "0x3334321031103210ULL", "0x3334321032103210ULL"},
	{"the traffic class of the other family", "ecn.h", "(ip[0] >> 3 & ECN_SHIFT6)", "0"},
	{"the other protocol type", "outer.h", "g->protocol = inner_type(v);", "g->protocol = bpf_htons(ETH_P_IP);"},
}

// compile makes an object of the C sources with a mistake.
func compile(t *testing.T, m *mutant) func() (*ebpf.CollectionSpec, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("c")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "include", m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte(m.right)); n != 1 {
		t.Fatalf("%s has %q %d times, want once", m.file, m.right, n)
	}
	if err := os.WriteFile(path, bytes.Replace(source, []byte(m.right), []byte(m.wrong), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(dir, "mutant.o")
	flags := strings.Fields("-O2 -g -mcpu=v3 -target bpfel -c -w -o")
	cmd := exec.Command("clang-19", append(flags, object, "-I", filepath.Join(dir, "include"), filepath.Join(dir, "dataplane.bpf.c"))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return func() (*ebpf.CollectionSpec, error) { return ebpf.LoadCollectionSpec(object) }
}

// mutantPackets is how many packets a mistake has to show itself in, and again with
// other seeds: what a row of packets shows depends on the clock a little.
const (
	mutantPackets = 20000
	mutantSeeds   = 4
)

// A mistake in the programs is found: each of these is, by a packet that gets
// something else than the hub gives it.
func TestMutantsDie(t *testing.T) {
	need.BPF(t)
	need.Tool(t, "clang-19")
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			object := compile(t, &m)
			var seen conform.Seen
			var err error
			for seed := uint64(1); seed <= mutantSeeds && err == nil; seed++ {
				seen, _, err = conforms(t, object, tcx, seed, mutantPackets, false)
			}
			if err == nil {
				t.Errorf("%s: %q instead of %q survived %d rows of %d packets", m.file, m.wrong, m.right, mutantSeeds, seen.Packets)
			} else if testing.Verbose() {
				text := err.Error()
				t.Logf("dead after %d packets: %s", seen.Packets, text[strings.LastIndex(text, "\n")+1:])
			}
		})
	}
}
