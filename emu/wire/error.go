package wire

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// ErrNoVeth says that the kernel cannot make veth pairs.
var ErrNoVeth = errors.New("this kernel has no veth (CONFIG_VETH; try `modprobe veth`)")

// UnsupportedError names a link that asks for what a plain wire does not do.
type UnsupportedError struct {
	Link string // id
	// From and To are the nodes at the ends, in the direction of the impairment.
	From, To   string
	Impairment spec.Impairment
}

// Error names the link, the direction and what was asked.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("link %s: impairment %+v from %s to %s: wires of this lab are plain", e.Link, e.Impairment, e.From, e.To)
}

// Check says whether Build can do all of the plan, before anything is made: an
// *UnsupportedError for an impairment, a plain error for a plan that
// contradicts itself.
func Check(p *plan.Plan) error {
	nodes := make(map[string]bool, len(p.Nodes))
	for i := range p.Nodes {
		if id := p.Nodes[i].ID; nodes[id] {
			return fmt.Errorf("node %q is planned twice", id)
		}
		nodes[p.Nodes[i].ID] = true
	}
	for i := range p.Links {
		l := &p.Links[i]
		for _, e := range []*plan.Endpoint{&l.A, &l.B} {
			if !nodes[e.Node] {
				return fmt.Errorf("link %s: no node %q", l.ID, e.Node)
			}
		}
		if l.AB != (spec.Impairment{}) {
			return &UnsupportedError{l.ID, l.A.Node, l.B.Node, l.AB}
		}
		if l.BA != (spec.Impairment{}) {
			return &UnsupportedError{l.ID, l.B.Node, l.A.Node, l.BA}
		}
	}
	for i := range p.Branches {
		if n := p.Branches[i].Node; !nodes[n] {
			return fmt.Errorf("branch of %s: no node %q", p.Branches[i].Site, n)
		}
	}
	return nil
}

// vethError tells a kernel without veth from other failures.
func vethError(err error) error {
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("%w: %w", ErrNoVeth, err)
	}
	return err
}
