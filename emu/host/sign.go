package host

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"net/netip"
	"strconv"
)

// signer makes signatures with a run's key: HMAC-SHA256 (RFC 2104), cut to 16
// bytes. It is not for concurrent use.
type signer struct {
	mac hash.Hash
	buf [sha256.Size]byte
}

func newSigner(k Key) *signer { return &signer{mac: hmac.New(sha256.New, k[:])} }

// sum is valid until the next call.
func (s *signer) sum(b []byte) []byte {
	s.mac.Reset()
	s.mac.Write(b)
	return s.mac.Sum(s.buf[:0])[:16]
}

func (s *signer) check(b, sig []byte) bool { return hmac.Equal(s.sum(b), sig) }

// Headers of a flow's answer over HTTP.
const (
	headerNonce     = "Homeward-Nonce"
	headerFlow      = "Homeward-Flow"    // "same/3"
	headerPeer      = "Homeward-Peer"    // the client as the origin saw it
	headerRequest   = "Homeward-Request" // bytes that arrived
	headerDamaged   = "Homeward-Damaged" // offset of the first wrong byte, or -1
	headerSignature = "Homeward-Signature"
)

// statement is what an origin says about a request.
type statement struct {
	nonce   uint64
	flow    string
	peer    netip.AddrPort
	request int64
	damaged int64 // offset of the first wrong byte, or -1
}

func (st statement) bytes() []byte {
	return fmt.Appendf(nil, "homeward http\n%d\n%s\n%s\n%d\n%d", st.nonce, st.flow, st.peer, st.request, st.damaged)
}

func (st statement) write(h http.Header, s *signer) {
	h.Set(headerNonce, strconv.FormatUint(st.nonce, 10))
	h.Set(headerFlow, st.flow)
	h.Set(headerPeer, st.peer.String())
	h.Set(headerRequest, strconv.FormatInt(st.request, 10))
	h.Set(headerDamaged, strconv.FormatInt(st.damaged, 10))
	h.Set(headerSignature, hex.EncodeToString(s.sum(st.bytes())))
}

// readStatement returns the origin's statement, once the signature is valid.
func readStatement(h http.Header, s *signer) (statement, error) {
	var st statement
	var errs [4]error
	st.nonce, errs[0] = strconv.ParseUint(h.Get(headerNonce), 10, 64)
	st.peer, errs[1] = netip.ParseAddrPort(h.Get(headerPeer))
	st.request, errs[2] = strconv.ParseInt(h.Get(headerRequest), 10, 64)
	st.damaged, errs[3] = strconv.ParseInt(h.Get(headerDamaged), 10, 64)
	st.flow = h.Get(headerFlow)
	sig, err := hex.DecodeString(h.Get(headerSignature))
	if errs != [4]error{} || err != nil || !s.check(st.bytes(), sig) {
		return statement{}, errSignature
	}
	return st, nil
}
