package record

// Block is what the Internet has to know for an egress address of IPv4: the /24
// that holds it, from the datacenters that announce it.
type Block struct {
	Prefix string   `json:"prefix"`
	From   []string `json:"from"`
}

// Backbone is what a link between two datacenters carried in one direction: what
// servers handed on to others, outer headers included. A lab's kernels count a
// superpacket as one packet.
type Backbone struct {
	From    string `json:"from"` // datacenters
	To      string `json:"to"`
	Packets int64  `json:"packets"`
	Bytes   int64  `json:"bytes"`
}
