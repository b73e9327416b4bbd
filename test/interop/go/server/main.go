// The server is the classic Greeter server on grpc-go: an echo, with switches
// in the request metadata that make it misbehave on purpose. README.md in the
// folder above lists them.
//
// It prints "listening ADDRESS" when it is up, and ends when its standard input
// does, so that it never outlives the program that started it.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"

	pb "hawser/interop/greeterpb"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "HOST:PORT or unix:PATH")
	cert := flag.String("cert", "", "PEM file; TLS when given")
	key := flag.String("key", "", "PEM file")
	clientCA := flag.String("client-ca", "", "PEM file; clients need a certificate when given")
	maxAge := flag.Int("max-age", 0, "retire connections after this many milliseconds; 0 is never")
	minPing := flag.Int("min-ping", 0, "the shortest ping interval that is permitted, in milliseconds; 0 is grpc-go's default")
	maxStreams := flag.Uint("max-streams", 0, "the most streams at a time on a connection; 0 is grpc-go's default")
	flag.Parse()

	options := []grpc.ServerOption{grpc.StatsHandler(wireCounter{})}
	if *cert != "" {
		options = append(options, grpc.Creds(credentials.NewTLS(serverTLS(*cert, *key, *clientCA))))
	}
	if *maxAge > 0 {
		options = append(options, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: milliseconds(*maxAge)}))
	}
	if *minPing > 0 {
		options = append(options, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: milliseconds(*minPing)}))
	}
	if *maxStreams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(uint32(*maxStreams)))
	}

	network, address := "tcp", *listen
	if path, ok := strings.CutPrefix(*listen, "unix:"); ok {
		network, address = "unix", path
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(options...)
	pb.RegisterGreeterServer(server, &greeter{calls: newOutcomes(), drain: server.GracefulStop})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
		time.Sleep(time.Second)
		os.Exit(1)
	}()
	fmt.Println("listening", listener.Addr())
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
	fmt.Println("drained")
}

func milliseconds(count int) time.Duration {
	return time.Duration(count) * time.Millisecond
}

func serverTLS(cert, key, clientCA string) *tls.Config {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clientCA != "" {
		pem, err := os.ReadFile(clientCA)
		if err != nil {
			log.Fatal(err)
		}
		config.ClientCAs = x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM(pem)
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}
