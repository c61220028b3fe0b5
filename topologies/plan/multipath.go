package plan

// MultipathSeed is what the node's choice among equal routes depends on beside a
// packet's addresses and ports: never 0, which would have each kernel draw one. Each
// node has its own, so that one does not choose as the one before it did.
func (n *Node) MultipathSeed() uint32 { return uint32(random(0, "multipath", n.ID)) | 1 }
