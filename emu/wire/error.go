package wire

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// ErrNoVeth says that the kernel cannot make veth pairs.
var ErrNoVeth = errors.New("this kernel has no veth (CONFIG_VETH; try `modprobe veth`)")

// LackError is what the kernel has to have for what was asked of a wire.
type LackError struct {
	Feature string // "CONFIG_NET_SCH_NETEM (sch_netem)"
	Err     error
}

// Error names the feature.
func (e *LackError) Error() string {
	return fmt.Sprintf("this kernel lacks %s: %v", e.Feature, e.Err)
}

// Unwrap is what the kernel said.
func (e *LackError) Unwrap() error { return e.Err }

// Needs tells a kernel without a feature of tc from other failures.
func Needs(feature string, err error) error {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EOPNOTSUPP) {
		return &LackError{feature, err}
	}
	return err
}

// Check says whether Build can do all of the plan, before anything is made: it
// refuses a plan that contradicts itself.
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
		for _, d := range []impair.Direction{impair.AB, impair.BA} {
			c := l.Impair(d)
			if err := c.Check(); err != nil {
				return fmt.Errorf("link %s: %w", l.ID, err)
			}
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
