// The transcript client makes the calls of a transcript against a Greeter server:
//
//	transcript ADDRESS NAME...
//
// README.md in test/http2/transcripts lists the names.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "hawser/interop/greeterpb"
)

var calls = map[string]func(ctx context.Context, greeter pb.GreeterClient) error{
	"unary": func(ctx context.Context, greeter pb.GreeterClient) error {
		_, err := greeter.SayHello(with(ctx, "x-lead", "one"), &pb.MessageRequest{Content: "Ada"})
		return err
	},
	"push": func(ctx context.Context, greeter pb.GreeterClient) error {
		push, err := greeter.Subscribe(ctx, &pb.SubscribeRequest{Count: 3, Interval: &durationpb.Duration{}})
		if err != nil {
			return err
		}
		return readAll(push)
	},
	"collect": func(ctx context.Context, greeter pb.GreeterClient) error {
		collect, err := greeter.Collect(ctx)
		if err != nil {
			return err
		}
		for _, content := range []string{"a", "bb", "ccc"} {
			if err := collect.Send(&pb.MessageRequest{Content: content}); err != nil {
				return err
			}
		}
		_, err = collect.CloseAndRecv()
		return err
	},
	"chat": func(ctx context.Context, greeter pb.GreeterClient) error {
		chat, err := greeter.Chat(ctx)
		if err != nil {
			return err
		}
		for _, content := range []string{"one", "two", ""} {
			if err := chat.Send(&pb.MessageRequest{Content: content}); err != nil {
				return err
			}
			if _, err := chat.Recv(); err != nil {
				return err
			}
		}
		if err := chat.CloseSend(); err != nil {
			return err
		}
		return readAll(chat)
	},
	"error": func(ctx context.Context, greeter pb.GreeterClient) error {
		_, err := greeter.SayHello(with(ctx, "x-fail", "5"), &pb.MessageRequest{Content: "Ada"})
		return mustFail(err)
	},
	"cancel": func(ctx context.Context, greeter pb.GreeterClient) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		interval := durationpb.New(5 * time.Millisecond)
		push, err := greeter.Subscribe(ctx, &pb.SubscribeRequest{Interval: interval})
		if err != nil {
			return err
		}
		if _, err := push.Recv(); err != nil {
			return err
		}
		cancel()
		return mustFail(readAll(push))
	},
	"gzip": func(ctx context.Context, greeter pb.GreeterClient) error {
		request := &pb.MessageRequest{Content: strings.Repeat("compress me ", 100)}
		_, err := greeter.SayHello(with(ctx, "x-gzip", "yes"), request, grpc.UseCompressor(gzip.Name))
		return err
	},
	"large": func(ctx context.Context, greeter pb.GreeterClient) error {
		_, err := greeter.SayHello(ctx, &pb.MessageRequest{Content: strings.Repeat("0123456789", 10_000)})
		return err
	},
	"pushes": func(ctx context.Context, greeter pb.GreeterClient) error {
		request := &pb.SubscribeRequest{Count: 2000, Interval: &durationpb.Duration{}}
		pushes, err := greeter.Subscribe(with(ctx, "x-bytes", "65536"), request)
		if err != nil {
			return err
		}
		return readAll(pushes)
	},
	"idle": func(ctx context.Context, greeter pb.GreeterClient) error {
		time.Sleep(50 * time.Millisecond)
		return nil
	},
}

func with(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func readAll[T any](responses interface{ Recv() (*T, error) }) error {
	for {
		if _, err := responses.Recv(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func mustFail(err error) error {
	if err == nil {
		log.Fatal("the call did not fail")
	}
	return nil
}

func main() {
	conn, err := grpc.NewClient("passthrough:///"+os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, name := range os.Args[2:] {
		call, found := calls[name]
		if !found {
			log.Fatalf("there is no call named %s", name)
		}
		if err := call(ctx, pb.NewGreeterClient(conn)); err != nil {
			log.Fatalf("%s: %v", name, err)
		}
	}
	_ = conn.Close()
}
