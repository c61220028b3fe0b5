package policy

// country is a code of two letters in capitals, the zero value for anything of
// another length: files write codes both ways, and a code that failed to match
// for its case would open a block rule.
type country [2]byte

func countryOf(code string) country {
	if len(code) != 2 {
		return country{}
	}
	c := country{code[0], code[1]}
	for i := range c {
		if 'a' <= c[i] && c[i] <= 'z' {
			c[i] -= 'a' - 'A'
		}
	}
	return c
}

func countries(codes []string) []country {
	all := make([]country, len(codes))
	for i, code := range codes {
		all[i] = countryOf(code)
	}
	return all
}
