package asgraph

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

const serial2 = `# source:topology|BGP|20250901
# input clique: 10 20
10|20|0|bgp
10|30|-1|bgp
20|40|-1|bgp
30|40|0|mlp
30|50|-1|bgp
30|50|-1|mlp
`

// bzipped is serial2, written by bzip2, which Go's library cannot do.
//
//go:embed testdata/serial2.txt.bz2
var bzipped string

func TestRead(t *testing.T) {
	var gz, x bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write([]byte(serial2))
	w.Close()
	z, err := xz.NewWriter(&x)
	if err != nil {
		t.Fatal(err)
	}
	z.Write([]byte(serial2))
	z.Close()
	serial1 := strings.NewReplacer("|bgp", "", "|mlp", "").Replace(serial2)
	for name, text := range map[string]string{
		"serial-1": serial1, "serial-2": serial2, "bzip2": bzipped, "gzip": gz.String(), "xz": x.String(),
		"windows": strings.ReplaceAll(serial2, "\n", "\r\n"),
	} {
		g, err := Read(name, strings.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if g.Len() != 5 {
			t.Errorf("%s: %d ASes, want 5", name, g.Len())
		}
		v, _ := g.Lookup(30)
		if len(g.Providers(v)) != 1 || len(g.Customers(v)) != 1 || len(g.Peers(v)) != 1 {
			t.Errorf("%s: AS30 has %d providers, %d customers, %d peers; want one of each", name, len(g.Providers(v)), len(g.Customers(v)), len(g.Peers(v)))
		}
	}
}

func TestReadMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"fields", "1|2\n", `f:1: 2 fields in "1|2", want AS|AS|relation or AS|AS|relation|source`},
		{"number", "1|2|0\n1|x|0\n", `f:2: "x" is no AS number`},
		{"too great", "1|4294967296|0\n", `f:1: "4294967296" is no AS number`},
		{"relation", "1|2|1\n", `f:1: relation "1", want -1 (the first sells transit to the second) or 0 (peers)`},
		{"all at once", "1|2|7\n3|4|0\nx|1|0\n", "f:1: relation \"7\", want -1 (the first sells transit to the second) or 0 (peers)\nf:3: \"x\" is no AS number"},
		{"itself", "5|5|0\n", "f:1: AS5 is linked to itself"},
		{"contradiction", "# c\n1|2|0\n\n2|1|-1\n", "f:4: AS2 and AS1 were linked otherwise before"},
		{"turned", "1|2|-1\n2|1|-1\n", "f:2: AS2 and AS1 were linked otherwise before"},
		{"circle", "1|2|-1\n2|3|-1\n9|1|-1\n3|1|-1\n3|4|-1\n", "f:4: a circle of providers: AS1 buys from AS3 buys from AS2 buys from AS1"},
		{"empty", "# nothing\n", "f: no links, want lines such as 174|3356|0"},
		{"cut", "\xfd7zXZ\x00", "f: "},
	} {
		_, err := Read("f", strings.NewReader(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || c.name != "cut" && err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestReadDeep(t *testing.T) {
	var b strings.Builder
	for i := range MaxDepth + 1 {
		fmt.Fprintf(&b, "%d|%d|-1\n", i+1, i+2)
	}
	if _, err := Read("f", strings.NewReader(b.String())); err == nil || !strings.Contains(err.Error(), "AS52 has a chain of 51 providers above it, want at most 50") {
		t.Errorf("got %v", err)
	}
}
