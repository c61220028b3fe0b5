package tunnel

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/homeward-lab/homeward/dataplane/ident"
)

// The first datagram of a connected tunnel (SEMANTICS 4.1):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|    Magic 0xF0 0x48 ("H")      |  Version = 1  |     Kind      |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|            Tenant             |        Virtual network        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|            Country            |  User length  | Token length  |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                                                               |
//	+                      Registration (16 bytes)                  +
//	|                                                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                   User ...                    |   Token ...
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// The magic's first four bits are neither 4 nor 6: a context can never be taken
// for an IP packet, nor a packet for a context (OX-1).
const (
	contextMagic   = 0xf048
	contextVersion = 1

	contextFixed = contextHead + contextWhose + contextSizes + RegistrationLen
	contextHead  = 2 + 1 + 1
	contextWhose = 2 + 2
	contextSizes = 2 + 1 + 1

	kindDevice    = 1
	kindConnector = 2
)

// Bounds of a context, bytes.
const (
	// MaxContext bounds the first datagram.
	MaxContext = 512
	// RegistrationLen is the length of a registration id.
	RegistrationLen = 16
	// MaxUser is the longest user name: that of a mail address (RFC 5321
	// section 4.5.3.1.3).
	MaxUser = 254
	// MaxToken is the longest token.
	MaxToken = 64
)

// Errors of ParseContext. Each closes the connection it came on and no other
// (OX-1).
var (
	ErrContextEmpty   = errors.New("tunnel context: empty datagram")
	ErrContextShort   = errors.New("tunnel context: cut off")
	ErrContextLong    = errors.New("tunnel context: too long")
	ErrContextMagic   = errors.New("tunnel context: not a context")
	ErrContextVersion = errors.New("tunnel context: unknown version")
	ErrContextField   = errors.New("tunnel context: invalid field")
)

// Context is what the first datagram of a connected tunnel says about all
// packets that follow. Whether its tenant exists and its token is good is for
// the one who accepts the tunnel to find out. The zero value is not valid.
type Context struct {
	// Kind is Device or Connector.
	Kind   Kind
	Tenant ident.Tenant
	// VNet is the virtual network chosen, 0 for the tenant's default.
	VNet ident.VNet
	// Registration names the device or connector, never all zero.
	Registration [RegistrationLen]byte
	// Country is an ISO 3166-1 alpha-2 code in capitals, or "" if not known.
	Country string
	// User is who uses the device, printable UTF-8; "" for none.
	User string
	// Token proves the right to speak for the registration; nil where the
	// transport does that already, as a socket inside a server. Sign makes one.
	Token []byte
}

// Append appends the context's datagram to dst. An error wraps ErrContextField
// and leaves dst as it was.
func (c *Context) Append(dst []byte) ([]byte, error) {
	if err := c.check(); err != nil {
		return dst, err
	}
	kind := uint8(kindDevice)
	if c.Kind == Connector {
		kind = kindConnector
	}
	dst = binary.BigEndian.AppendUint16(dst, contextMagic)
	dst = append(dst, contextVersion, kind)
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.Tenant))
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.VNet))
	var country [2]byte
	copy(country[:], c.Country)
	dst = append(dst, country[0], country[1], uint8(len(c.User)), uint8(len(c.Token)))
	dst = append(dst, c.Registration[:]...)
	dst = append(dst, c.User...)
	return append(dst, c.Token...), nil
}

// ParseContext reads the first datagram of a connected tunnel. It is strict:
// what it accepts, Append writes again byte for byte. Errors wrap one of the
// ErrContext values. The context keeps no part of the datagram.
func ParseContext(datagram []byte) (Context, error) {
	switch b := datagram; {
	case len(b) == 0:
		return Context{}, ErrContextEmpty
	case b[0] != contextMagic>>8 || len(b) > 1 && b[1] != contextMagic&0xff:
		return Context{}, fmt.Errorf("%w: begins with %#x, want %#x", ErrContextMagic, b[:min(2, len(b))], contextMagic)
	case len(b) > MaxContext:
		return Context{}, fmt.Errorf("%w: %d bytes, at most %d", ErrContextLong, len(b), MaxContext)
	case len(b) > 2 && b[2] != contextVersion:
		return Context{}, fmt.Errorf("%w: %d, want %d", ErrContextVersion, b[2], contextVersion)
	case len(b) < contextFixed:
		return Context{}, fmt.Errorf("%w: %d bytes, at least %d", ErrContextShort, len(b), contextFixed)
	}
	b := datagram
	user, token := int(b[10]), int(b[11])
	switch want := contextFixed + user + token; {
	case len(b) < want:
		return Context{}, fmt.Errorf("%w: %d bytes, its lengths say %d", ErrContextShort, len(b), want)
	case len(b) > want:
		return Context{}, fmt.Errorf("%w: %d bytes, its lengths say %d", ErrContextLong, len(b), want)
	}
	c := Context{
		Tenant: ident.Tenant(binary.BigEndian.Uint16(b[4:])), VNet: ident.VNet(binary.BigEndian.Uint16(b[6:])),
		Registration: [RegistrationLen]byte(b[12:]), User: string(b[contextFixed : contextFixed+user]),
	}
	switch b[3] {
	case kindDevice:
		c.Kind = Device
	case kindConnector:
		c.Kind = Connector
	default:
		return Context{}, fmt.Errorf("%w: kind %d, want %d (device) or %d (connector)", ErrContextField, b[3], kindDevice, kindConnector)
	}
	if b[8]|b[9] != 0 {
		c.Country = string(b[8:10])
	}
	if token > 0 {
		c.Token = append([]byte(nil), b[contextFixed+user:]...)
	}
	if err := c.check(); err != nil {
		return Context{}, err
	}
	return c, nil
}

func (c *Context) check() error {
	switch {
	case c.Kind != Device && c.Kind != Connector:
		return fmt.Errorf("%w: kind %q, want %q or %q", ErrContextField, c.Kind, Device, Connector)
	case c.Tenant == 0:
		return fmt.Errorf("%w: no tenant", ErrContextField)
	case c.Registration == [RegistrationLen]byte{}:
		return fmt.Errorf("%w: no registration", ErrContextField)
	case c.Country != "" && !isCountry(c.Country):
		return fmt.Errorf("%w: country %q, want two capital letters", ErrContextField, c.Country)
	case len(c.User) > MaxUser:
		return fmt.Errorf("%w: user of %d bytes, at most %d", ErrContextField, len(c.User), MaxUser)
	case !printable(c.User):
		return fmt.Errorf("%w: user %q is not printable UTF-8", ErrContextField, c.User)
	case len(c.Token) > MaxToken:
		return fmt.Errorf("%w: token of %d bytes, at most %d", ErrContextField, len(c.Token), MaxToken)
	}
	return nil
}

func isCountry(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

// printable: user names go into records and onto terminals.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// Sign sets the token to the HMAC-SHA-256, under key, of the context's datagram
// without a token. It proves who wrote the context, not that it is fresh: who
// can read the datagram can send it again.
func (c *Context) Sign(key []byte) error {
	sum, err := c.mac(key)
	if err == nil {
		c.Token = sum
	}
	return err
}

// Verify reports whether the token is what Sign makes with key.
func (c *Context) Verify(key []byte) bool {
	sum, err := c.mac(key)
	return err == nil && hmac.Equal(sum, c.Token)
}

func (c *Context) mac(key []byte) ([]byte, error) {
	bare := *c
	bare.Token = nil
	b, err := bare.Append(make([]byte, 0, MaxContext))
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, key)
	h.Write(b)
	return h.Sum(nil), nil
}
