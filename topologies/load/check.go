package load

func (r *resolver) shape() {}
func (r *resolver) check() {}
