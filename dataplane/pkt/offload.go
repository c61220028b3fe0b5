package pkt

// Offload is what the sender's kernel left for the hardware to do. Rewrites
// keep it true; the driver passes it on to the device (virtio_net_hdr in the
// lab).
type Offload struct {
	// Segment is the TCP payload per segment of a superpacket, bytes; 0 means
	// the packet is a single one. UDP superpackets are not accepted.
	Segment uint16
	// Partial says that the L4 checksum field holds only the pseudo header's
	// sum (CHECKSUM_PARTIAL): address changes are folded in, others are not.
	Partial bool
}
