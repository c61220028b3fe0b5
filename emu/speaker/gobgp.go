package speaker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Main is a GoBGP child's life: it reads the header and commands from in, answers
// on out, and speaks BGP in the namespace it runs in until in ends.
func Main(in io.Reader, out io.Writer) error {
	lines := json.NewDecoder(in)
	var h header
	if err := lines.Decode(&h); err != nil {
		return fmt.Errorf("speaker: read header: %w", err)
	}
	g := &gobgp{header: h, out: json.NewEncoder(out)}
	err := g.start()
	g.answer(err)
	if err != nil {
		return fmt.Errorf("speaker: %w", err)
	}
	for {
		var c command
		switch err := lines.Decode(&c); {
		case errors.Is(err, io.EOF):
			return g.stop()
		case err != nil:
			return errors.Join(fmt.Errorf("speaker: read command: %w", err), g.stop())
		}
		g.answer(g.announce(c.Origins))
	}
}

// gobgp is one router.
type gobgp struct {
	header
	server *server.BgpServer
	fib    *kernel
	mu     sync.Mutex // of out: events come from the server's goroutine
	out    *json.Encoder
	// told are the paths that the server was given.
	told []bgp.Origin
	up   []bool // by session
	// calm goes off when the table has not changed for calmAfter.
	calm *time.Timer
}

const calmAfter = 200 * time.Millisecond

func (g *gobgp) say(l line) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.out.Encode(l) // a parent that is gone ends the input too
}

func (g *gobgp) answer(err error) {
	if err != nil {
		g.say(line{Error: err.Error()})
		return
	}
	g.say(line{Done: true})
}

func (g *gobgp) start() error {
	if !g.Relay {
		fib, err := openKernel(&g.Speaker)
		if err != nil {
			return err
		}
		g.fib = fib
	}
	g.up = make([]bool, len(g.Speaker.Sessions))
	g.calm = time.AfterFunc(time.Hour, g.repeat)
	g.calm.Stop()
	level := &slog.LevelVar{}
	level.Set(slog.LevelError)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	g.server = server.NewBgpServer(server.LoggerOption(log, level))
	go g.server.Serve()
	ctx := context.Background()
	if err := g.server.StartBgp(ctx, &api.StartBgpRequest{Global: g.global()}); err != nil {
		return err
	}
	if err := g.policies(ctx); err != nil {
		return err
	}
	callbacks := server.WatchEventMessageCallbacks{OnBestPath: g.best, OnPeerUpdate: g.session}
	watched := server.WatchBestPath(true)
	if g.Relay {
		callbacks = server.WatchEventMessageCallbacks{OnPathUpdate: g.listens, OnPeerUpdate: g.session}
		watched = server.WatchPostUpdate(true, "", "")
	}
	if err := g.server.WatchEvent(ctx, callbacks, watched, server.WatchPeer()); err != nil {
		return err
	}
	if err := g.announce(g.Speaker.Origins); err != nil {
		return err
	}
	for i := range g.Speaker.Sessions {
		if err := g.server.AddPeer(ctx, &api.AddPeerRequest{Peer: g.peer(&g.Speaker.Sessions[i])}); err != nil {
			return err
		}
	}
	return nil
}

// global chooses paths as dataplane/bgp does: MEDs, which are this router's own
// costs, count between any two neighbours, and age does not.
func (g *gobgp) global() *api.Global {
	var own []string // an edge may have another speaker, for customers
	for _, s := range g.Speaker.Sessions {
		if a := s.Local.String(); !slices.Contains(own, a) {
			own = append(own, a)
		}
	}
	return &api.Global{
		Asn: g.Speaker.ASN, RouterId: g.Speaker.ID.String(), ListenPort: port, ListenAddresses: own,
		RouteSelectionOptions: &api.RouteSelectionOptionsConfig{AlwaysCompareMed: true, ExternalCompareRouterId: true},
	}
}

func (g *gobgp) peer(s *plan.Session) *api.Peer {
	hold := uint64(g.Hold / time.Second)
	return &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: s.Remote.String(), PeerAsn: s.ASN},
		Transport: &api.Transport{LocalAddress: s.Local.String(), PassiveMode: !s.Dials()},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: hold, KeepaliveInterval: max(hold/3, 1), ConnectRetry: 1, IdleHoldTimeAfterReset: 1,
		}},
		AfiSafis: families(s),
	}
}

// families are those that a session carries.
func families(s *plan.Session) []*api.AfiSafi {
	all := []api.Family_Afi{api.Family_AFI_IP}
	if s.Local6.IsValid() {
		all = append(all, api.Family_AFI_IP6)
	}
	var carried []*api.AfiSafi
	for _, afi := range all {
		carried = append(carried, &api.AfiSafi{Config: &api.AfiSafiConfig{Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}, Enabled: true}})
	}
	return carried
}

// announce gives the server a path for each prefix, and takes back what is no more.
func (g *gobgp) announce(origins []bgp.Origin) error {
	has := func(all []bgp.Origin, p netip.Prefix) bool {
		return slices.ContainsFunc(all, func(o bgp.Origin) bool { return o.Prefix == p })
	}
	for _, o := range g.told {
		if has(origins, o.Prefix) {
			continue
		}
		path, err := localPath(o.Prefix)
		if err != nil {
			return err
		}
		if err := g.server.DeletePath(apiutil.DeletePathRequest{Paths: []*apiutil.Path{path}}); err != nil {
			return fmt.Errorf("withdraw %v: %w", o.Prefix, err)
		}
	}
	for _, o := range origins {
		if has(g.told, o.Prefix) {
			continue
		}
		path, err := localPath(o.Prefix)
		if err != nil {
			return err
		}
		if _, err := g.server.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{path}}); err != nil {
			return fmt.Errorf("announce %v: %w", o.Prefix, err)
		}
	}
	partly := slices.ContainsFunc(origins, func(o bgp.Origin) bool {
		return has(g.told, o.Prefix) && !slices.EqualFunc(of(g.told, o.Prefix), of(origins, o.Prefix), sameOrigin)
	})
	g.told = origins
	if !partly {
		return nil
	}
	// Some neighbours are told another thing of a prefix, or nothing any more.
	g.Speaker.Origins = origins
	if err := g.policies(context.Background()); err != nil {
		return err
	}
	g.repeat()
	return nil
}

// of are the origins of one prefix.
func of(all []bgp.Origin, p netip.Prefix) []bgp.Origin {
	return slices.DeleteFunc(slices.Clone(all), func(o bgp.Origin) bool { return o.Prefix != p })
}

func sameOrigin(a, b bgp.Origin) bool {
	return slices.Equal(a.To, b.To) && a.Prepend == b.Prepend && slices.Equal(a.Communities, b.Communities)
}

// localPath is a path of the router's own; what neighbours are told of it the
// export policy says.
func localPath(p netip.Prefix) (*apiutil.Path, error) {
	nlri, err := packet.NewIPAddrPrefix(p)
	if err != nil {
		return nil, err
	}
	family := packet.RF_IPv4_UC
	var hop packet.PathAttributeInterface
	if p.Addr().Is6() {
		family = packet.RF_IPv6_UC
		hop, err = packet.NewPathAttributeMpReachNLRI(family, []packet.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
	} else {
		hop, err = packet.NewPathAttributeNextHop(netip.IPv4Unspecified())
	}
	if err != nil {
		return nil, err
	}
	return &apiutil.Path{Family: family, Nlri: nlri, Attrs: []packet.PathAttributeInterface{packet.NewPathAttributeOrigin(0), hop}}, nil
}

// repeat tells all neighbours again what they may use. Two paths of one prefix that
// wait to be told together leave GoBGP 4.8 in any order (its packer groups what has
// the same attributes in a map), and the worse one can be what a neighbour keeps.
// Where it was right, nothing changes, and nobody goes on.
func (g *gobgp) repeat() {
	// The error would be that the server has stopped.
	_ = g.server.ResetPeer(context.Background(), &api.ResetPeerRequest{Address: "all", Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT})
}

// best puts what the server chose into the kernel.
func (g *gobgp) best(paths []*apiutil.Path, _ time.Time) {
	g.calm.Reset(calmAfter)
	for _, p := range paths {
		to, err := netip.ParsePrefix(p.Nlri.String())
		if err != nil {
			continue
		}
		from := g.Speaker.By(p.PeerAddress)
		if p.Withdrawal {
			from = bgp.None
		} else if from < 0 {
			from = bgp.Own
		}
		if err := g.fib.set(to, from); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) // a router whose table is not what it says is worse than none
		}
	}
}

// session tells the parent of a session that began or ended.
func (g *gobgp) session(e *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
	i := g.Speaker.By(e.Peer.State.NeighborAddress)
	if i < 0 || e.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	if up := e.Peer.State.SessionState == packet.BGP_FSM_ESTABLISHED; up != g.up[i] {
		g.up[i] = up
		l := line{Session: &i, Up: up}
		if !up {
			l.Reason = e.Peer.State.DisconnectMessage
		}
		g.say(l)
	}
}

// stop closes the sessions in order.
func (g *gobgp) stop() error {
	return g.server.StopBgp(context.Background(), &api.StopBgpRequest{})
}
