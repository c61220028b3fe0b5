package policy

import (
	"encoding/hex"
	"hash/fnv"
	"io"
	"strings"
)

// NilUUID stands in a record where no rule or tunnel is meant (SEMANTICS 6.4).
const NilUUID = "00000000-0000-0000-0000-000000000000"

// RuleUUID is the id under which records know a tenant's rule: NilUUID for the
// empty id, an id that is a UUID already in lower case, and for any other word
// a UUID of version 8 (RFC 9562 section 5.8) that depends on tenant and word
// alone. Rules of different stages with one id share it.
func RuleUUID(tenant, rule string) string {
	if rule == "" {
		return NilUUID
	}
	if isUUID(rule) {
		return strings.ToLower(rule)
	}
	h := fnv.New128a()
	// The zero byte keeps tenant "a", rule "bc" apart from tenant "ab", rule "c".
	_, _ = io.WriteString(h, tenant+"\x00"+rule) // a hash never fails to write (package hash)
	var b [16]byte
	h.Sum(b[:0])
	b[6] = b[6]&0x0f | 0x80 // version 8
	b[8] = b[8]&0x3f | 0x80 // variant 10
	return UUID(b)
}

// UUID writes 16 bytes in the five groups of RFC 9562.
func UUID(b [16]byte) string {
	text := hex.EncodeToString(b[:])
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

// isUUID reports whether s is 32 hex digits in the five groups of RFC 9562.
func isUUID(s string) bool {
	if len(s) != len(NilUUID) {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case NilUUID[i] == '-':
			if c != '-' {
				return false
			}
		case !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'):
			return false
		}
	}
	return true
}
