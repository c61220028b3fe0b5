package picture

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed picture.tmpl
var templateText string

//go:embed picture.css
var styleText string

// Style is the sheet that a page with drawings needs, colours included: --ink,
// --muted, --panel and the others of :root, light and dark.
func Style() template.CSS { return template.CSS(styleText) }

func parse() (*template.Template, error) {
	return template.New("picture").Funcs(template.FuncMap{"add": func(a, b float64) float64 { return a + b }}).Parse(templateText)
}

// inline is what the template shows of a drawing in a page.
type inline struct {
	Drawing
	Key string
}

// Inline is the drawing as an svg element of a page that has Style. Key is
// unique in the page.
func (d Drawing) Inline(key string) (template.HTML, error) {
	t, err := parse()
	if err != nil {
		return "", fmt.Errorf("picture: %w", err)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "inline", inline{d, key}); err != nil {
		return "", fmt.Errorf("picture: %w", err)
	}
	return template.HTML(b.String()), nil
}

// file is what the template shows of a drawing that stands alone.
type file struct {
	Drawing
	Key, Title, Subtitle string
	Style                template.CSS
	Entries              []entryAt
	Head, Total          float64
}

// entryAt is a legend's entry and where it stands.
type entryAt struct {
	Entry
	X float64
}

const (
	headH = 74.0
	footH = 40.0
)

// Write writes the drawing as an SVG file that needs nothing else: it takes
// light or dark from whoever shows it.
func (d Drawing) Write(w io.Writer, title, subtitle string) error {
	t, err := parse()
	if err != nil {
		return fmt.Errorf("picture: %w", err)
	}
	f := file{Drawing: d, Key: "p", Title: title, Subtitle: subtitle, Style: Style(), Head: headH, Total: d.Height + headH}
	if d.More > 0 {
		f.Subtitle += fmt.Sprintf(" · %d more are not drawn", d.More)
	}
	x := siteX
	for _, e := range d.Legend {
		f.Entries = append(f.Entries, entryAt{e, x})
		x += 64 + 6.4*float64(len(e.Text))
	}
	if len(f.Entries) > 0 {
		f.Total += footH
	}
	if err := t.ExecuteTemplate(w, "file", f); err != nil {
		return fmt.Errorf("picture: %w", err)
	}
	return nil
}
