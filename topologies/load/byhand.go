package load

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// ImpairmentWords reads words such as "delay=20ms" as an impairment of a file has
// them, and says which were given. Mistakes are positions in them, joined by
// blanks; name is what the text is called.
func ImpairmentWords(name string, args []string) (im spec.Impairment, given []string, err error) {
	l, err := readLine(name, args, &im)
	if err != nil {
		return im, nil, err
	}
	checkImpairment(im, l.given, l.mistake)
	return im, l.words(), l.err()
}

// FaultWords reads words such as "do=cut" and "for=3s" as a fault of a file has
// them, but for the impairment, which is given.
func FaultWords(name string, args []string, impairment *spec.Impairment) (f spec.Fault, err error) {
	l, err := readLine(name, args, &f)
	if err != nil {
		return f, err
	}
	f.Impairment = impairment
	given := func(word string) bool { return l.given(word) || word == "impairment" && impairment != nil }
	if f.Pick < 0 {
		l.mistake("pick", fmt.Sprintf("pick %d, want 1 or more", f.Pick))
	}
	checkFault(&f, given, l.mistake, l.mistake)
	return f, l.err()
}

// anyPath stands for the place that a setting of the command line has and a word
// has not.
const anyPath = "value"

// line is words of a command line, read.
type line struct {
	src  *source
	node *yaml.Node
	errs Errors
}

// readLine decodes words with their values into what a file decodes to.
func readLine(name string, args []string, into any) (*line, error) {
	l := &line{src: newSource(name, []byte(strings.Join(args, " "))), node: &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}}
	at := 1
	for _, arg := range args {
		word, value, found := strings.Cut(arg, "=")
		if !found {
			return nil, Errors{l.src.mistake(1, at, "want WORD=VALUE such as delay=20ms", "")}
		}
		column := at + len([]rune(word)) + 1
		if strings.TrimSpace(value) == "" {
			return nil, Errors{l.src.mistake(1, column, word+" without a value", "")}
		}
		set, mistake := fromOutside(spec.Setting{Path: anyPath, Value: value})
		if mistake != nil {
			return nil, Errors{l.src.mistake(1, column, mistake.Msg, mistake.Hint)}
		}
		shift(set.val, column-len(anyPath+"=")-1)
		l.node.Content = append(l.node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: word, Line: 1, Column: at}, set.val)
		at += len([]rune(arg)) + 1
	}
	d := newDecoder(l.src, newWords())
	d.value(l.node, reflect.ValueOf(into).Elem(), 0)
	if len(d.errs) > 0 {
		return nil, d.errs
	}
	return l, nil
}

// words are those that were given.
func (l *line) words() []string {
	var all []string
	for i := 0; i < len(l.node.Content); i += 2 {
		all = append(all, l.node.Content[i].Value)
	}
	return all
}

func (l *line) value(word string) *yaml.Node {
	for i := 0; i < len(l.node.Content); i += 2 {
		if l.node.Content[i].Value == word {
			return l.node.Content[i+1]
		}
	}
	return nil
}

func (l *line) given(word string) bool { return l.value(word) != nil }

// mistake is about a word's value, or about the whole where the word is not there.
func (l *line) mistake(word, msg string) {
	at := l.node
	if v := l.value(word); v != nil {
		at = v
	}
	l.errs = append(l.errs, l.src.mistake(at.Line, at.Column, msg, ""))
}

func (l *line) err() error {
	if len(l.errs) == 0 {
		return nil
	}
	return l.errs
}
