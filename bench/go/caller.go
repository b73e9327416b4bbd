package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"hawser/interop/greeterpb"
)

// caller is one connection to a server, with one request content.
type caller interface {
	chat(context.Context) (stream, error)
	subscribe(context.Context) (stream, error)
	sayHello(context.Context) error
	close()
}

// stream is a call in which every request is the same message.
type stream interface {
	send() error
	recv() error
	closeSend() error
}

// dialer makes the caller of a job.
type dialer func(j job) (caller, error)

func dial(j job) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if j.CA != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(j.CA, ""); err != nil {
			return nil, err
		}
	}
	return grpc.NewClient("passthrough:///"+j.Address, grpc.WithTransportCredentials(transport))
}

func withSize(ctx context.Context, size int) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "bench-size", strconv.Itoa(size))
}

// typed is the client under test: generated code, as in the documentation of grpc-go.
type typed struct {
	connection *grpc.ClientConn
	client     greeterpb.GreeterClient
	content    string
	size       int
}

func dialTyped(j job) (caller, error) {
	connection, err := dial(j)
	if err != nil {
		return nil, err
	}
	return &typed{connection, greeterpb.NewGreeterClient(connection), strings.Repeat("x", j.Size), j.Size}, nil
}

func (t *typed) chat(ctx context.Context) (stream, error) {
	chat, err := t.client.Chat(ctx)
	return &typedChat{chat, t.content}, err
}

func (t *typed) subscribe(ctx context.Context) (stream, error) {
	push, err := t.client.Subscribe(withSize(ctx, t.size), &greeterpb.SubscribeRequest{})
	return &typedPush{push}, err
}

func (t *typed) sayHello(ctx context.Context) error {
	_, err := t.client.SayHello(ctx, &greeterpb.MessageRequest{Content: t.content})
	return err
}

func (t *typed) close() { t.connection.Close() }

type typedChat struct {
	call    greeterpb.Greeter_ChatClient
	content string
}

func (c *typedChat) send() error { return c.call.Send(&greeterpb.MessageRequest{Content: c.content}) }

func (c *typedChat) recv() error {
	_, err := c.call.Recv()
	return err
}

func (c *typedChat) closeSend() error { return c.call.CloseSend() }

type typedPush struct {
	call greeterpb.Greeter_SubscribeClient
}

func (p *typedPush) send() error { return fmt.Errorf("a push has one request") }

func (p *typedPush) recv() error {
	_, err := p.call.Recv()
	return err
}

func (p *typedPush) closeSend() error { return nil }

// raw is the load: requests are encoded once, and only the length of replies is checked.
type raw struct {
	connection *grpc.ClientConn
	size       int
	request    []byte
	echo       expected
	push       expected
	hello      expected
}

// expected is the required length of a reply, in bytes.
type expected int

func dialRaw(j job) (caller, error) {
	connection, err := dial(j)
	if err != nil {
		return nil, err
	}
	content := strings.Repeat("x", j.Size)
	request, err := proto.Marshal(&greeterpb.MessageRequest{Content: content})
	if err != nil {
		return nil, err
	}
	return &raw{
		connection: connection,
		size:       j.Size,
		request:    request,
		echo:       expected(proto.Size(&greeterpb.MessageResponse{Reply: "Received: " + content})),
		push:       expected(proto.Size(&greeterpb.Notification{Content: content})),
		hello:      expected(proto.Size(&greeterpb.MessageResponse{Reply: "Hello, " + content})),
	}, nil
}

var rawOption = grpc.ForceCodecV2(rawCodec{})

func (r *raw) chat(ctx context.Context) (stream, error) {
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	call, err := r.connection.NewStream(ctx, desc, greeterpb.Greeter_Chat_FullMethodName, rawOption)
	return &rawStream{call, r.request, r.echo}, err
}

func (r *raw) subscribe(ctx context.Context) (stream, error) {
	desc := &grpc.StreamDesc{ServerStreams: true}
	call, err := r.connection.NewStream(withSize(ctx, r.size), desc, greeterpb.Greeter_Subscribe_FullMethodName, rawOption)
	if err != nil {
		return nil, err
	}
	if err := call.SendMsg([]byte{}); err != nil {
		return nil, err
	}
	return &rawStream{call, nil, r.push}, call.CloseSend()
}

func (r *raw) sayHello(ctx context.Context) error {
	return r.connection.Invoke(ctx, greeterpb.Greeter_SayHello_FullMethodName, r.request, &r.hello, rawOption)
}

func (r *raw) close() { r.connection.Close() }

type rawStream struct {
	call    grpc.ClientStream
	request []byte
	reply   expected
}

func (s *rawStream) send() error      { return s.call.SendMsg(s.request) }
func (s *rawStream) recv() error      { return s.call.RecvMsg(&s.reply) }
func (s *rawStream) closeSend() error { return s.call.CloseSend() }

// rawCodec sends encoded messages as they are, and only checks the length of received ones.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if want := int(*v.(*expected)); data.Len() != want {
		return fmt.Errorf("a reply of %d B, expected %d B", data.Len(), want)
	}
	return nil
}
