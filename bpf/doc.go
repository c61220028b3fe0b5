// Package bpf holds the kernel's part of the lab's dataplane as eBPF programs
// for tcx, with typed loaders: outer headers pushed by mark on a server's
// uplink, a branch router's GRE tunnel made of a veth pair, and the fast path of
// an edge server (Dataplane), which carries flows that the hub has set up.
//
// It decides nothing: which packet goes where is dataplane's. Its law, held by
// tests: what a program writes is, byte for byte, what the codecs of
// dataplane/tunnel and dataplane/pkt write, and what becomes of a packet is what
// dataplane/hub would do with it, or that the hub gets it.
//
// Links are held by file descriptor, nothing is pinned: when the process that
// attached a program dies, the kernel detaches it. The C sources are in c/; the
// objects are committed, and "go generate" reproduces them with clang-19.
package bpf
