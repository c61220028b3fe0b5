package tunnel_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

func device() tunnel.Context {
	return tunnel.Context{
		Kind: tunnel.Device, Tenant: 0x0102, VNet: 0x0304, Registration: [16]byte{0: 0x11, 15: 0x22},
		Country: "CH", User: "zoë@example.com", Token: []byte{0xaa, 0xbb},
	}
}

func appended(t testing.TB, c tunnel.Context) []byte {
	t.Helper()
	b, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestContextBytes pins the wire: devices of another version read it.
func TestContextBytes(t *testing.T) {
	want := []byte{
		0xf0, 'H', 1, 1, 1, 2, 3, 4, 'C', 'H', 16, 2,
		0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x22,
	}
	want = append(append(want, "zoë@example.com"...), 0xaa, 0xbb)
	if got := appended(t, device()); !bytes.Equal(got, want) {
		t.Errorf("% x\nwant\n% x", got, want)
	}
}

func TestContextRoundTrip(t *testing.T) {
	largest := device()
	largest.User, largest.Token = strings.Repeat("u", tunnel.MaxUser), make([]byte, tunnel.MaxToken)
	for name, c := range map[string]tunnel.Context{
		"device":    device(),
		"connector": {Kind: tunnel.Connector, Tenant: 65535, Registration: [16]byte{1}},
		"largest":   largest,
	} {
		b := appended(t, c)
		if len(b) > tunnel.MaxContext {
			t.Errorf("%s: %d bytes", name, len(b))
		}
		got, err := tunnel.ParseContext(b)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s: %v %+v, want %+v", name, err, got, c)
		}
		clear(b)
		if !reflect.DeepEqual(got, c) {
			t.Errorf("%s: the context keeps the datagram", name)
		}
	}
}

// TestContextCutAnywhere: no part of a context is one.
func TestContextCutAnywhere(t *testing.T) {
	b := appended(t, device())
	for n := range b {
		want := tunnel.ErrContextShort
		if n == 0 {
			want = tunnel.ErrContextEmpty
		}
		if c, err := tunnel.ParseContext(b[:n]); !errors.Is(err, want) || !reflect.DeepEqual(c, tunnel.Context{}) {
			t.Errorf("%d bytes: %v, want %v", n, err, want)
		}
	}
}

func TestParseContextRefuses(t *testing.T) {
	good := appended(t, device())
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], to)
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"IPv4 packet", bare(4, 60), tunnel.ErrContextMagic},
		{"IPv6 packet", bare(6, 60), tunnel.ErrContextMagic},
		{"half the magic", change(1, 'X'), tunnel.ErrContextMagic},
		{"large and no context", bytes.Repeat([]byte{0xff}, 9000), tunnel.ErrContextMagic},
		{"version 0", change(2, 0), tunnel.ErrContextVersion},
		{"version 2", change(2, 2), tunnel.ErrContextVersion},
		{"version 2, shorter", change(2, 2)[:5], tunnel.ErrContextVersion},
		{"one byte too many", append(bytes.Clone(good), 0), tunnel.ErrContextLong},
		{"above the bound", append(bytes.Clone(good), make([]byte, 512)...), tunnel.ErrContextLong},
		{"user past the end", change(10, 255), tunnel.ErrContextShort},
		{"token past the end", change(11, 3), tunnel.ErrContextShort},
		{"kind 0", change(3, 0), tunnel.ErrContextField},
		{"kind 3", change(3, 3), tunnel.ErrContextField},
		{"tenant 0", change(4, 0, 0), tunnel.ErrContextField},
		{"country in small letters", change(8, 'c', 'h'), tunnel.ErrContextField},
		{"half a country", change(8, 'C', 0), tunnel.ErrContextField},
		{"registration 0", change(12, make([]byte, 16)...), tunnel.ErrContextField},
		{"control character in the user", change(28, 27), tunnel.ErrContextField},
		{"user not UTF-8", change(28, 0xff), tunnel.ErrContextField},
		{"user of 255 bytes", append(change(10, 255), make([]byte, 239)...), tunnel.ErrContextField},
		{"token of 65 bytes", append(change(11, 65), make([]byte, 63)...), tunnel.ErrContextField},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tunnel.ParseContext(tt.b)
			if !errors.Is(err, tt.want) || !reflect.DeepEqual(c, tunnel.Context{}) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

func TestContextAppendRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*tunnel.Context){
		"no kind":         func(c *tunnel.Context) { c.Kind = "" },
		"another kind":    func(c *tunnel.Context) { c.Kind = tunnel.GRE },
		"no tenant":       func(c *tunnel.Context) { c.Tenant = 0 },
		"no registration": func(c *tunnel.Context) { c.Registration = [16]byte{} },
		"long country":    func(c *tunnel.Context) { c.Country = "CHE" },
		"long user":       func(c *tunnel.Context) { c.User = strings.Repeat("u", tunnel.MaxUser+1) },
		"line break":      func(c *tunnel.Context) { c.User = "a\nb" },
		"long token":      func(c *tunnel.Context) { c.Token = make([]byte, tunnel.MaxToken+1) },
	} {
		c := device()
		spoil(&c)
		got, err := c.Append([]byte("before"))
		if !errors.Is(err, tunnel.ErrContextField) || string(got) != "before" {
			t.Errorf("%s: %v, %q", name, err, got)
		}
		if err := c.Sign([]byte("key")); err == nil && name != "long token" {
			t.Errorf("%s: signed", name)
		}
	}
}

// TestContextSign: a token is good for one key and one context.
func TestContextSign(t *testing.T) {
	key := []byte("key")
	c := device()
	if c.Verify(key) {
		t.Error("a token nobody signed is good")
	}
	if err := c.Sign(key); err != nil {
		t.Fatal(err)
	}
	got, err := tunnel.ParseContext(appended(t, c))
	if err != nil || !got.Verify(key) {
		t.Fatalf("%v, or the token is not good", err)
	}
	if got.Verify([]byte("other")) {
		t.Error("good under another key")
	}
	for name, forge := range map[string]func(*tunnel.Context){
		"tenant":       func(c *tunnel.Context) { c.Tenant++ },
		"vnet":         func(c *tunnel.Context) { c.VNet++ },
		"kind":         func(c *tunnel.Context) { c.Kind = tunnel.Connector },
		"registration": func(c *tunnel.Context) { c.Registration[3]++ },
		"country":      func(c *tunnel.Context) { c.Country = "DE" },
		"user":         func(c *tunnel.Context) { c.User += "x" },
		"no token":     func(c *tunnel.Context) { c.Token = nil },
		"invalid":      func(c *tunnel.Context) { c.Tenant = 0 },
	} {
		forged := got
		forge(&forged)
		if forged.Verify(key) {
			t.Errorf("good with another %s", name)
		}
	}
}

// TestOX1: the second datagram of a connected tunnel is an IP packet, the first
// never is. Source: SEMANTICS 4.5.
func TestOX1(t *testing.T) {
	context := appended(t, device())
	if got := tunnel.CheckConnected(context); got != drop.BadTunnel {
		t.Errorf("a context taken for a packet: %v", got)
	}
	for _, b := range [][]byte{bare(4, 20), bare(4, 1500), bare(6, 40), bare(6, 1500)} {
		if got := tunnel.CheckConnected(b); got != drop.None {
			t.Errorf("IPv%d packet of %d bytes: %v", b[0]>>4, len(b), got)
		}
		if _, err := tunnel.ParseContext(b); !errors.Is(err, tunnel.ErrContextMagic) {
			t.Errorf("a packet taken for a context: %v", err)
		}
	}
	short := bare(4, 40)
	short[0] = 0x44
	for name, b := range map[string][]byte{
		"nothing": nil, "IPv4, cut off": bare(4, 40)[:39], "IPv4, two in one": append(bare(4, 40), bare(4, 40)...),
		"IPv4, a byte": {0x45}, "IPv4, header of 16": short, "IPv4, options cut off": {0x46, 0, 0, 20, 19: 0},
		"IPv6, cut off": bare(6, 60)[:59], "IPv6, padded": append(bare(6, 60), 0), "IPv6, a byte": {0x60},
	} {
		if got := tunnel.CheckConnected(b); got != drop.Malformed {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// FuzzConnected: a datagram is a context, a packet or neither, never both, and
// a context is what Append writes, byte for byte.
func FuzzConnected(f *testing.F) {
	f.Add(appended(f, device()))
	f.Add(appended(f, tunnel.Context{Kind: tunnel.Connector, Tenant: 1, Registration: [16]byte{1}}))
	f.Add(bare(4, 20))
	f.Add(bare(6, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := tunnel.ParseContext(b)
		packet := tunnel.CheckConnected(b) == drop.None
		if err == nil && packet {
			t.Fatalf("both a context and a packet: %x", b)
		}
		if err != nil {
			if !reflect.DeepEqual(c, tunnel.Context{}) {
				t.Fatalf("%v with %+v", err, c)
			}
			return
		}
		if got := appended(t, c); !bytes.Equal(got, b) {
			t.Fatalf("%x read and written as %x", b, got)
		}
	})
}
