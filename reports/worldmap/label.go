package worldmap

import "unicode/utf8"

// The size of a line of text, and of a letter: about, because who shows the picture
// chooses the font.
const (
	textHigh   = 13
	letterWide = 5.6
)

// box is a part of the canvas.
type box struct{ x0, y0, x1, y1 float64 }

func (b box) holds(x, y float64) bool { return x >= b.x0 && x <= b.x1 && y >= b.y0 && y <= b.y1 }

func (b box) meets(o box) bool {
	return b.x0 <= o.x1 && o.x0 <= b.x1 && b.y0 <= o.y1 && o.y0 <= b.y1
}

// place puts each label where it covers least: beside its mark, below or above.
func place(marks []drawn, lines []arc) {
	var taken []box
	for i := range marks {
		d := &marks[i]
		if d.Label == "" {
			continue
		}
		wide, off := letterWide*float64(utf8.RuneCountInString(d.Label)), d.Radius+3
		least, at := -1, box{}
		for _, c := range []struct {
			x, y   float64
			anchor string
			left   float64 // of the text, from x
		}{
			{d.X + off, d.Y, "start", 0},
			{d.X - off, d.Y, "end", -wide},
			{d.X, d.Y + off + textHigh/2, "middle", -wide / 2},
			{d.X, d.Y - off - textHigh/2, "middle", -wide / 2},
		} {
			text := box{c.x + c.left, c.y - textHigh/2, c.x + c.left + wide, c.y + textHigh/2}
			if n := covered(text, d, marks, lines, taken); least < 0 || n < least {
				least, at = n, text
				d.LabelX, d.LabelY, d.Anchor = c.x, c.y, c.anchor
			}
		}
		taken = append(taken, at)
	}
}

// covered says how much of other things a label would cover. The edge of the canvas is
// worst: what is beyond cannot be read at all.
func covered(text box, of *drawn, marks []drawn, lines []arc, taken []box) int {
	n := 0
	if text.x0 < 0 || text.y0 < 0 || text.x1 > Width || text.y1 > Height {
		n += 1000
	}
	for _, other := range taken {
		if text.meets(other) {
			n += 100
		}
	}
	for i := range marks {
		o := &marks[i]
		if o != of && o.Label != "" && text.meets(box{o.X - o.Radius, o.Y - o.Radius, o.X + o.Radius, o.Y + o.Radius}) {
			n += 100
		}
	}
	const looks = 40
	for _, l := range lines {
		for k := range looks + 1 {
			if text.holds(l.point(float64(k) / looks)) {
				n++
			}
		}
	}
	return n
}
