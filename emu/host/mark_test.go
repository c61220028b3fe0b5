package host

import (
	"errors"
	"net/netip"
	"testing"
)

func TestAnswerVerifies(t *testing.T) {
	key := Key{1}
	peer := netip.MustParseAddrPort("198.51.100.1:2048")
	s := newSigner(key)
	make1 := func() []byte {
		req := make([]byte, 64)
		request(req, 99, 3, 200)
		out, intact := s.answer(make([]byte, 1500), req, peer)
		if !intact {
			t.Fatal("an untouched request is not intact")
		}
		return out
	}
	v, err := s.verify(make1(), 99)
	if err != nil || v.peer != peer || v.seq != 3 || v.length != 64 || v.received != 200 || !v.intact {
		t.Fatalf("verify = %+v, %v", v, err)
	}
	for _, c := range []struct {
		name  string
		spoil func([]byte) []byte
		nonce uint64
		key   Key
		want  error
	}{
		{"address", func(b []byte) []byte { b[39] ^= 1; return b }, 99, key, errSignature},
		{"nonce", func(b []byte) []byte { b[15] ^= 1; return b }, 98, key, errSignature},
		{"payload", func(b []byte) []byte { b[199] ^= 1; return b }, 99, key, errDamaged},
		{"another flow's", func(b []byte) []byte { return b }, 98, key, errForeign},
		{"another run's", func(b []byte) []byte { return b }, 99, Key{2}, errSignature},
		{"cut short", func(b []byte) []byte { return b[:MinAnswer-1] }, 99, key, errNotOurs},
		{"not ours", func(b []byte) []byte { b[0] = 0; return b }, 99, key, errNotOurs},
	} {
		if _, err := newSigner(c.key).verify(c.spoil(make1()), c.nonce); !errors.Is(err, c.want) {
			t.Errorf("%s: verify = %v, want %v", c.name, err, c.want)
		}
	}
}

// A request that changed on its way is answered, and the answer says so.
func TestAnswerToDamagedRequest(t *testing.T) {
	s := newSigner(Key{})
	req := make([]byte, 64)
	request(req, 99, 0, 64)
	req[40] ^= 4
	out, intact := s.answer(make([]byte, 1500), req, netip.MustParseAddrPort("10.0.0.1:1"))
	if intact {
		t.Error("intact, want damaged")
	}
	if v, err := s.verify(out, 99); err != nil || v.intact {
		t.Errorf("verify = %+v, %v, want a valid answer that says damaged", v, err)
	}
}
