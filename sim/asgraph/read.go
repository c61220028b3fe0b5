package asgraph

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/ulikunitz/xz"
)

// maxMistakes is how many malformed lines a file may have before reading gives up.
const maxMistakes = 10

// Open reads a file of AS relationships; errors begin with its name.
func Open(path string) (*Graph, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(path, f)
}

// Read reads AS relationships as CAIDA writes them, plain or compressed by bzip2,
// xz or gzip. Lines are AS|AS|relation (serial-1) or AS|AS|relation|source
// (serial-2), where the relation is -1 if the first sells transit to the second
// and 0 if they peer; those that begin with # are comments. The error names every
// malformed line, up to ten of them.
//
// https://publicdata.caida.org/datasets/as-relationships/
func Read(name string, r io.Reader) (*Graph, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var links []Link
	var lines []int // of each link
	var mistakes []error
	in := bufio.NewScanner(plain)
	n := 0
	for in.Scan() {
		n++
		text := bytes.TrimRight(in.Bytes(), "\r")
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		l, err := parseLink(text)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", name, n, err))
			if len(mistakes) == maxMistakes {
				break
			}
			continue
		}
		links, lines = append(links, l), append(lines, n)
	}
	if err := in.Err(); err != nil {
		mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", name, n+1, err))
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	if len(links) == 0 {
		return nil, fmt.Errorf("%s: no links, want lines such as 174|3356|0", name)
	}
	g, err := New(links)
	if at := (*LinkError)(nil); errors.As(err, &at) {
		return nil, fmt.Errorf("%s:%d: %w", name, lines[at.Index], at.Err)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return g, nil
}

// decompress looks at the first bytes, not at a name.
func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	switch magic, _ := b.Peek(6); {
	case bytes.HasPrefix(magic, []byte("BZh")):
		return bzip2.NewReader(b), nil
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		return xz.NewReader(b)
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		return gzip.NewReader(b)
	}
	return b, nil
}

func parseLink(line []byte) (Link, error) {
	fields := bytes.Split(line, []byte("|"))
	if len(fields) != 3 && len(fields) != 4 {
		return Link{}, fmt.Errorf("%d fields in %q, want AS|AS|relation or AS|AS|relation|source", len(fields), line)
	}
	var l Link
	for i, to := range []*ASN{&l.A, &l.B} {
		n, err := strconv.ParseUint(string(fields[i]), 10, 32)
		if err != nil {
			return Link{}, fmt.Errorf("%q is no AS number", fields[i])
		}
		*to = ASN(n)
	}
	switch string(fields[2]) {
	case "-1":
		l.Relation = Transit
	case "0":
		l.Relation = Peering
	default:
		return Link{}, fmt.Errorf("relation %q, want -1 (the first sells transit to the second) or 0 (peers)", fields[2])
	}
	return l, nil
}
