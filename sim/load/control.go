package load

// Controlled is the share of flows that give up, estimated twice: as it was played, and
// with Erlang's formula B as a control variate. The same flows are played without
// retries too; what they lose is known there, so what chance did to them is known, and
// is taken off (with the weight 1, so that nothing has to be estimated for it). The
// rate has to be one all the time.
func (g *Group) Controlled() (lost, controlled float64, err error) {
	with, err := g.Play()
	if err != nil {
		return 0, 0, err
	}
	once := *g
	once.Retries = 0
	without, err := once.Play()
	if err != nil {
		return 0, 0, err
	}
	share := func(p *Played) float64 {
		n, of := 0, 0
		for i := range p.Flows {
			n, of = n+p.Lost[i], of+p.Flows[i]
		}
		return ratio(float64(n), float64(of))
	}
	lost = share(with)
	return lost, lost - (share(without) - g.Formula(g.Rate[0], with.Ports)), nil
}
