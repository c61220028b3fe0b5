package sweep

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// maxAnswer is the largest task or answer that an embedded server carries.
const maxAnswer = 32 << 20

// Listen says where an embedded server listens, and who may join.
type Listen struct {
	// Address is host:port; empty is the loopback interface and any port.
	Address string
	// Token that workers have to know; empty draws one.
	Token string
	// TLS of the server; nil is none, which is for the loopback interface alone.
	TLS *tls.Config
}

// Broker is an embedded NATS server.
type Broker struct {
	Token string
	// URL for workers of this machine.
	URL string

	server *server.Server
}

// ErrOpen is returned for a server that would listen to others without TLS and a
// token of the user's own.
var ErrOpen = errors.New("beyond the loopback interface a server wants TLS and a token")

// NewBroker starts a server.
func NewBroker(l Listen) (*Broker, error) {
	host, port := "127.0.0.1", -1
	if l.Address != "" {
		h, p, err := net.SplitHostPort(l.Address)
		if err != nil {
			return nil, fmt.Errorf("%q: %w, want host:port", l.Address, err)
		}
		if port, err = strconv.Atoi(p); err != nil || port < 0 || port > 65535 {
			return nil, fmt.Errorf("port %q: want a number from 0 to 65535", p)
		}
		host = h
		if port == 0 {
			port = -1
		}
	}
	if !loopback(host) && (l.TLS == nil || l.Token == "") {
		return nil, ErrOpen
	}
	if l.Token == "" {
		l.Token = secret()
	}
	store, err := os.MkdirTemp("", "homeward-sweep-")
	if err != nil {
		return nil, err
	}
	b := &Broker{Token: l.Token}
	// Streams are in memory: what must last, the answers, the coordinator keeps. The
	// server wants a directory of its own at its start all the same, and no later:
	// then there is none for a killed coordinator to leave behind.
	defer os.RemoveAll(store)
	b.server, err = server.NewServer(&server.Options{
		ServerName: "homeward", Host: host, Port: port, Authorization: l.Token, TLSConfig: l.TLS, TLS: l.TLS != nil,
		JetStream: true, StoreDir: store, MaxPayload: maxAnswer, NoLog: true, NoSigs: true, TLSTimeout: 5,
	})
	if err != nil {
		return nil, err
	}
	go b.server.Start()
	if !b.server.ReadyForConnections(10 * time.Second) {
		b.Close()
		return nil, fmt.Errorf("the server does not listen on %s within 10 s: is the port taken?", net.JoinHostPort(host, strconv.Itoa(port)))
	}
	b.URL = b.server.ClientURL()
	return b, nil
}

// Connect is a connection within this process.
func (b *Broker) Connect() (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(b.server), nats.Token(b.Token), nats.Name("coordinator"))
}

// Close ends the server; workers notice at once.
func (b *Broker) Close() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func secret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
