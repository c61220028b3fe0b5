package benchpage

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/reports/figure"
)

// Every figure is in the table, those with a baseline are in a plot of their unit to
// its scale, the plots are well-formed whatever names say, and the page is the same
// each time.
func TestWrite(t *testing.T) {
	figures := []figure.Row{
		figure.Cost("dataplane.a", 50, "ns").Beside("route", 100).Bound(80),
		figure.Rate("dataplane.b", 3, "Gbit/s").Beside("<route> & \"more\"", 2),
		figure.Cost("dataplane.c", 7, "µs"),
	}
	var page, again bytes.Buffer
	if err := errors.Join(Write(&page, "Bench", "A machine.", figures), Write(&again, "Bench", "A machine.", figures)); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	if text != again.String() {
		t.Error("the page differs from one time to the next")
	}
	for _, f := range figures {
		if !strings.Contains(text, "<td>"+f.ID+"</td>") {
			t.Errorf("%s is not in the table", f.ID)
		}
	}
	if got := strings.Count(text, "<svg"); got != 2 {
		t.Errorf("%d plots, want one for ns and one for Gbit/s", got)
	}
	if !strings.Contains(text, `width="210"`) || !strings.Contains(text, `width="280"`) { // half, and two thirds, of the longest
		t.Error("bars are not to scale")
	}
	for part := text; ; {
		_, after, found := strings.Cut(part, "<svg")
		if !found {
			break
		}
		plot, rest, _ := strings.Cut(after, "</svg>")
		for d := xml.NewDecoder(strings.NewReader("<svg" + plot + "</svg>")); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("not well-formed: %v", err)
			}
		}
		part = rest
	}
}
