// The client runs named scenarios on grpc-go against a Greeter server and
// prints a line each, "PASS name" or "FAIL name: reason". It exits with 1 when
// one failed, and at once when its standard input ends.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	pb "hawser/interop/greeterpb"
)

// world is what a scenario works with: one connection, and how often it was dialled.
type world struct {
	conn    *grpc.ClientConn
	greeter pb.GreeterClient
	dials   atomic.Int32
}

func main() {
	target := flag.String("target", "", "HOST:PORT or unix:PATH")
	ca := flag.String("ca", "", "PEM file; TLS when given")
	cert := flag.String("cert", "", "PEM file of the client certificate")
	key := flag.String("key", "", "PEM file")
	flag.Parse()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()

	w := &world{}
	creds := insecure.NewCredentials()
	if *ca != "" {
		creds = credentials.NewTLS(clientTLS(*ca, *cert, *key))
	}
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		w.dials.Add(1)
		network := "tcp"
		if path, ok := strings.CutPrefix(address, "unix:"); ok {
			network, address = "unix", path
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	conn, err := grpc.NewClient("passthrough:///"+*target, grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(dial), grpc.WithStatsHandler(payloads{}), grpc.WithAuthority("localhost"))
	if err != nil {
		log.Fatal(err)
	}
	w.conn, w.greeter = conn, pb.NewGreeterClient(conn)

	failed := false
	for _, s := range chosen(flag.Args()) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := s.run(ctx, w); err != nil {
			failed = true
			fmt.Printf("FAIL %s: %s\n", s.name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Printf("PASS %s\n", s.name)
		}
		cancel()
	}
	_ = conn.Close()
	if failed {
		os.Exit(1)
	}
}

func chosen(names []string) []scenario {
	if len(names) == 0 {
		return always
	}
	var list []scenario
	for _, name := range names {
		for _, s := range append(always, onRequest...) {
			if s.name == name {
				list = append(list, s)
			}
		}
	}
	if len(list) != len(names) {
		log.Fatalf("not all of these are scenarios: %v", names)
	}
	return list
}

func clientTLS(ca, cert, key string) *tls.Config {
	pem, err := os.ReadFile(ca)
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			log.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}
