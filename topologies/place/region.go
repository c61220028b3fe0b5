package place

// Regions are the nine codes by which routes can be scoped (SEMANTICS 2.6).
func Regions() []string {
	return []string{"AFR", "APAC", "EEUR", "ENAM", "ME", "OC", "SAM", "WEUR", "WNAM"}
}

// Region is the one of the nine that a place belongs to. Which country belongs
// where is published for few of them; the rest follows geography: the Middle
// East by country, Europe divided at the eastern border of Germany, Austria
// and Italy, North America at 95 degrees west.
func (p Place) Region() string {
	if middleEast[p.Country] {
		return "ME"
	}
	switch p.Continent {
	case "AF":
		return "AFR"
	case "AS":
		return "APAC"
	case "OC", "AN":
		return "OC"
	case "SA":
		return "SAM"
	case "EU":
		if easternEurope[p.Country] {
			return "EEUR"
		}
		return "WEUR"
	}
	if p.Lon < mississippi {
		return "WNAM"
	}
	return "ENAM"
}

// mississippi, roughly, divides North America, in degrees east.
const mississippi = -95.0

var middleEast = set("AE", "BH", "CY", "EG", "IL", "IQ", "IR", "JO", "KW", "LB", "OM", "PS", "QA", "SA", "SY", "TR", "YE")

var easternEurope = set("AL", "BA", "BG", "BY", "CZ", "EE", "GR", "HR", "HU", "LT", "LV", "MD", "ME", "MK", "PL", "RO", "RS", "RU", "SI", "SK", "UA", "XK")

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}
