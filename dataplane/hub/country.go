package hub

import (
	"errors"
	"fmt"
	"net/netip"
)

// addCountries indexes where addresses are.
func (v *view) addCountries() error {
	var errs []error
	for _, c := range v.cfg.Countries {
		p := c.Prefix.Masked()
		switch _, twice := v.countries.Get(p); {
		case !p.IsValid() || p.Addr().Is4In6():
			errs = append(errs, fmt.Errorf("country %q: want a plain IPv4 or IPv6 prefix, got %v", c.Code, c.Prefix))
		case len(c.Code) != 2 || !capital(c.Code[0]) || !capital(c.Code[1]):
			errs = append(errs, fmt.Errorf("country of %v: want two capital letters (ISO 3166-1), got %q", p, c.Code))
		case twice:
			errs = append(errs, fmt.Errorf("country of %v is said twice", p))
		default:
			v.countries.Insert(p, c.Code)
		}
	}
	return errors.Join(errs...)
}

func capital(b byte) bool { return 'A' <= b && b <= 'Z' }

// country is where an address is; empty if nothing says.
func (v *view) country(addr netip.Addr) string {
	code, _ := v.countries.Lookup(addr)
	return code
}
