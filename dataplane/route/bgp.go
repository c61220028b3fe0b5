package route

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Community is a BGP community (RFC 1997): the AS in the upper 16 bits, its
// own number in the lower ones.
type Community uint32

// ParseCommunity reads "13335:60010".
func ParseCommunity(s string) (Community, error) {
	as, value, ok := strings.Cut(s, ":")
	a, errAS := strconv.ParseUint(as, 10, 16)
	v, errValue := strconv.ParseUint(value, 10, 16)
	if !ok || errAS != nil || errValue != nil {
		return 0, fmt.Errorf("community %q: want two numbers from 0 to 65535 such as 13335:60010", s)
	}
	return Community(a<<16 | v), nil
}

// String is what ParseCommunity reads.
func (c Community) String() string { return fmt.Sprintf("%d:%d", c>>16, c&0xffff) }

// NetworkASN is the network's own side of every session.
const NetworkASN = 13335

// Ours says whether the community speaks to the network: one of ours with no
// meaning is a mistake, anybody else's is none of our business.
func (c Community) Ours() bool { return c>>16 == NetworkASN }

// BasePriority of a learned route without a community that says otherwise
// (SEMANTICS 2.7).
const BasePriority = 100

// PrependCost is added for each extra occurrence of the customer's AS in the
// path (SEMANTICS 2.7).
const PrependCost = 10

// base is what a community says of a route's priority (SEMANTICS 2.7).
type base struct {
	value    Community // without the AS
	priority int
}

func bases() []base {
	return []base{{60010, 10}, {60050, 50}, {60150, 150}, {60200, 200}, {60901, 501000}, {60902, 1001000}}
}

// BaseCommunities are the communities that set a base priority, lowest first.
func BaseCommunities() []Community {
	var all []Community
	for _, b := range bases() {
		all = append(all, NetworkASN<<16|b.value)
	}
	return all
}

// BGPPriority is the priority of a learned route: of the base priorities that
// its communities set the lowest, and PrependCost for each of extra
// occurrences of the customer's AS (SEMANTICS 2.7, RT-13).
func BGPPriority(communities []Community, extra int) int {
	best := BasePriority
	for _, b := range bases() {
		if slices.Contains(communities, NetworkASN<<16|b.value) {
			best = b.priority
			break
		}
	}
	return best + PrependCost*extra
}
