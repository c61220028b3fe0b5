package plan

import (
	"strings"
	"testing"
)

func TestLinksCalled(t *testing.T) {
	p, err := broken(t, "do: cut, on: web")
	if err != nil {
		t.Fatal(err)
	}
	names := p.LinkNames()
	for i, name := range names {
		if found := p.LinksCalled(name); len(found) != 1 || found[0] != &p.Links[i] {
			t.Errorf("%s is called %q, which is %d links", p.Links[i].ID, name, len(found))
		}
		if found := p.LinksCalled(p.Links[i].ID); len(found) != 1 || found[0] != &p.Links[i] {
			t.Errorf("the id %s is %d links", p.Links[i].ID, len(found))
		}
	}
	if all := strings.Join(names, " "); !strings.Contains(all, "shop.1.wan ") || !strings.Contains(all, " shop.1.till ") || !strings.Contains(all, "lhr.1 ") || !strings.Contains(all, "transit.lhr-transit.cdg") {
		t.Errorf("links are called %s", all)
	}
	for name, want := range map[string]int{"access": 6, "internet": 1, "shop.*.spare": 3, "shop.1.*": 3, "lhr": 1, "backbone": 1, "nobody": 0} {
		if found := p.LinksCalled(name); len(found) != want {
			t.Errorf("%q: %d links, want %d", name, len(found), want)
		}
	}
}
