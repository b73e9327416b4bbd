package main

import (
	"context"
	"io"
	"log"
	"net"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"hawser/interop/greeterpb"
)

// greeter answers as the handlers of the other servers do.
type greeter struct {
	greeterpb.UnimplementedGreeterServer
}

func (greeter) SayHello(_ context.Context, request *greeterpb.MessageRequest) (*greeterpb.MessageResponse, error) {
	return &greeterpb.MessageResponse{Reply: "Hello, " + request.GetContent()}, nil
}

func (greeter) Chat(stream greeterpb.Greeter_ChatServer) error {
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&greeterpb.MessageResponse{Reply: "Received: " + request.GetContent()}); err != nil {
			return err
		}
	}
}

// Subscribe sends content with the number of bytes in the header bench-size, as fast as
// possible, until the call is cancelled.
func (greeter) Subscribe(_ *greeterpb.SubscribeRequest, stream greeterpb.Greeter_SubscribeServer) error {
	size := 0
	if headers, ok := metadata.FromIncomingContext(stream.Context()); ok {
		if values := headers.Get("bench-size"); len(values) == 1 {
			size, _ = strconv.Atoi(values[0])
		}
	}
	content := strings.Repeat("x", size)
	for {
		if err := stream.Send(&greeterpb.Notification{Content: content}); err != nil {
			return err
		}
	}
}

// serve serves over TLS if files has a certificate and its key.
func serve(files []string) {
	var options []grpc.ServerOption
	if len(files) == 2 {
		transport, err := credentials.NewServerTLSFromFile(files[0], files[1])
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.Creds(transport))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(options...)
	greeterpb.RegisterGreeterServer(server, greeter{})
	go func() {
		if err := server.Serve(listener); err != nil {
			log.Fatal(err)
		}
	}()
	emit(event{Event: "ready", Address: listener.Addr().String()})
	for c := range commands() {
		if c.GC {
			collectGarbage()
		}
	}
	server.Stop()
}
