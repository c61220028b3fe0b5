package plan

import (
	"fmt"
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

func TestImpairable(t *testing.T) {
	p, err := broken(t, "do: cut, on: web")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Impairable([]string{"shop.*.wan", "internet"}); err != nil {
		t.Fatal(err)
	}
	var cut []string
	for i := range p.Links {
		if p.Links[i].Impaired() {
			cut = append(cut, p.Links[i].ID)
		}
	}
	if got, want := fmt.Sprint(cut), "[shop.1.router-transit.lhr shop.2.router-transit.lhr shop.3.router-transit.cdg web-transit.lhr]"; got != want {
		t.Errorf("can be impaired: %s, want %s", got, want)
	}
	if err := p.Impairable([]string{"shop.1.wam"}); err == nil || !strings.Contains(err.Error(), "did you mean shop.1.wan?") {
		t.Errorf("a name that is none: %v", err)
	}
}
