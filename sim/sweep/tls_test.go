package sweep_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/homeward-lab/homeward/sim/sweep"
)

// certified is a certificate of 127.0.0.1, and who vouches for it: itself.
func certified(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, pool
}

// TestSweepOverTLS: coordinator and worker meet at a server that neither of them is,
// over TLS and with its token; whoever trusts another authority, speaks no TLS, or
// does not know the token stays outside.
func TestSweepOverTLS(t *testing.T) {
	config, pool := certified(t)
	b, err := sweep.NewBroker(sweep.Listen{Address: "127.0.0.1:0", Token: "known", TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	trusting := nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	_, strangers := certified(t)
	for name, options := range map[string][]nats.Option{
		"another authority": {nats.Token("known"), nats.Secure(&tls.Config{RootCAs: strangers, MinVersion: tls.VersionTLS12})},
		"no token":          {trusting},
		"another token":     {nats.Token("guessed"), trusting},
	} {
		if conn, err := nats.Connect(b.URL, options...); err == nil {
			conn.Close()
			t.Errorf("%s was let in", name)
		}
	}
	join := func() *nats.Conn {
		conn, err := nats.Connect(b.URL, nats.Token("known"), trusting)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		if !conn.TLSRequired() {
			t.Error("the server does without TLS")
		}
		return conn
	}
	r, err := sweep.NewRemote(join(), []byte("0s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	conn := join()
	go func() { ended <- sweep.Work(ctx, conn, square, 2, false) }()
	collect(t, r, 100, nil)
	cancel()
	<-ended
}
