package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "hawser/interop/greeterpb"
)

type scenario struct {
	name string
	run  func(ctx context.Context, w *world) error
}

// always is what runs when no names are given; each scenario finds the
// connection in order and leaves it so.
var always = []scenario{
	{"unary", unary},
	{"server push", push},
	{"client streaming", collect},
	{"chat of 5, one goroutine receives", chatOfFive},
	{"ping-pong of 500", pingPong},
	{"10,000 messages while both directions overlap", func(ctx context.Context, w *world) error {
		_, err := w.echo(ctx, numbered(10_000))
		return err
	}},
	{"64 MiB through a chat", bulk},
	{"Unicode of every plane", unicodeChat},
	{"empty streams both ways", empty},
	{"half-close, then replies", late},
	{"server ends first", serverEndsFirst},
	{"server ends without reading", serverEndsAtOnce},
	{"200 chats at once on one connection", manyChats},
	{"calls of all kinds, 1 to 100 at a time", crowd},
	{"headers are waited for before the first message", headersAwaited},
	{"leading and trailing metadata, ascii and binary", metadataEcho},
	{"leading metadata before the first message", headersFirst},
	{"error with details, unary", failUnary},
	{"error with details, client streaming", failCollect},
	{"error with details after messages, push", failPush},
	{"error with details after messages, chat", failChat},
	{"unknown method and unknown service", unknown},
	{"deadline is carried", deadlineCarried},
	{"deadline of a unary call", deadlineUnary},
	{"deadline of a chat that waits for a request", deadlineChat},
	{"cancel a unary call", cancelUnary},
	{"cancel a chat", cancelChat},
	{"cancel a push", cancelPush},
	{"gzip requests", gzipRequests},
	{"3 MiB messages, all four kinds", large},
	{"5 MiB request is RESOURCE_EXHAUSTED", tooLarge},
	{"nothing of sessions is seen", noSessions},
	{"one connection served all of this", oneConnection},
}

// onRequest is what needs a server made for it.
var onRequest = []scenario{
	{"gzip responses", gzipResponses},
	{"graceful shutdown while a chat runs", drain},
	{"refused without a client certificate", refused},
	{"refused with a certificate of another CA", refused},
}

func unary(ctx context.Context, w *world) error {
	reply, err := w.greeter.SayHello(ctx, &pb.MessageRequest{Content: "Gopher"})
	if err != nil {
		return err
	}
	return expect("the reply", reply.GetReply(), "Hello, Gopher")
}

func push(ctx context.Context, w *world) error {
	stream, err := w.greeter.Subscribe(ctx, &pb.SubscribeRequest{Count: 50, Interval: durationpb.New(0)})
	if err != nil {
		return err
	}
	for sequence := uint64(1); sequence <= 50; sequence++ {
		notification, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := expect("the sequence", notification.GetSequence(), sequence); err != nil {
			return err
		}
		if age := time.Since(notification.GetTime().AsTime()); age < -time.Second || age > time.Minute {
			return fmt.Errorf("the time is off by %v", age)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("%w instead of the end", orNil(err))
	}
	return nil
}

func collect(ctx context.Context, w *world) error {
	for _, count := range []int{0, 1, 1000} {
		stream, err := w.greeter.Collect(ctx)
		if err != nil {
			return err
		}
		for range count {
			if err := stream.Send(&pb.MessageRequest{Content: "grüße"}); err != nil {
				return err
			}
		}
		total, err := stream.CloseAndRecv()
		if err != nil {
			return err
		}
		if err := expect("the count", total.GetCount(), uint32(count)); err != nil {
			return err
		}
		if err := expect("the bytes", total.GetBytes(), uint64(7*count)); err != nil {
			return err
		}
	}
	return nil
}

func chatOfFive(ctx context.Context, w *world) error {
	_, err := w.echo(ctx, numbered(5))
	return err
}

func pingPong(ctx context.Context, w *world) error {
	stream, err := w.greeter.Chat(ctx)
	if err != nil {
		return err
	}
	for _, message := range numbered(500) {
		if err := stream.Send(&pb.MessageRequest{Content: message}); err != nil {
			return err
		}
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := expect("the reply", response.GetReply(), "Received: "+message); err != nil {
			return err
		}
	}
	return endOfChat(stream)
}

// endOfChat half-closes and expects a clean end.
func endOfChat(stream chat) error {
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("%w instead of the end", orNil(err))
	}
	return nil
}

func bulk(ctx context.Context, w *world) error {
	message := string(make([]byte, 64<<10))
	messages := make([]string, 1024)
	for i := range messages {
		messages[i] = message
	}
	_, err := w.echo(ctx, messages)
	return err
}

func unicodeChat(ctx context.Context, w *world) error {
	var messages []string
	for plane := range rune(17) {
		text := []rune{}
		for r := plane << 16; r < plane<<16+0x10000; r += 251 {
			if r < 0xd800 || r > 0xdfff {
				text = append(text, r)
			}
		}
		messages = append(messages, string(text))
	}
	_, err := w.echo(ctx, messages)
	return err
}

func empty(ctx context.Context, w *world) error {
	if _, err := w.echo(ctx, nil); err != nil {
		return err
	}
	_, err := w.echo(ctx, []string{"", "", ""})
	return err
}

func late(ctx context.Context, w *world) error {
	_, err := w.echo(with(ctx, "x-late", "yes"), numbered(100))
	return err
}

func serverEndsFirst(ctx context.Context, w *world) error {
	stream, err := w.greeter.Chat(with(ctx, "x-end-after", "3"))
	if err != nil {
		return err
	}
	done := receive(stream)
	// Send fails with EOF once the server has ended the call; until then the messages go nowhere.
	for err == nil {
		err = stream.Send(&pb.MessageRequest{Content: "again"})
	}
	if err != io.EOF {
		return fmt.Errorf("send: %w instead of EOF", err)
	}
	got := <-done
	if got.err != nil {
		return got.err
	}
	return sameReplies(got.replies, []string{"again", "again", "again"})
}

func serverEndsAtOnce(ctx context.Context, w *world) error {
	stream, err := w.greeter.Chat(with(ctx, "x-end-after", "0"))
	if err != nil {
		return err
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("%w instead of the end", orNil(err))
	}
	return nil
}

func manyChats(ctx context.Context, w *world) error {
	errs := make(chan error, 200)
	var open sync.WaitGroup
	open.Add(cap(errs))
	for range cap(errs) {
		go func() {
			errs <- func() error {
				stream, err := w.greeter.Chat(ctx)
				if err == nil {
					err = stream.Send(&pb.MessageRequest{Content: "here"})
				}
				if err == nil {
					_, err = stream.Recv()
				}
				// All of them are open now, or one has failed.
				open.Done()
				open.Wait()
				if err != nil {
					return err
				}
				done := receive(stream)
				for _, message := range numbered(20) {
					if err := stream.Send(&pb.MessageRequest{Content: message}); err != nil {
						return err
					}
				}
				if err := stream.CloseSend(); err != nil {
					return err
				}
				got := <-done
				if got.err != nil {
					return got.err
				}
				return sameReplies(got.replies, numbered(20))
			}()
		}()
	}
	var failed error
	for range cap(errs) {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	return failed
}

func oneConnection(_ context.Context, w *world) error {
	return expect("the number of dials", w.dials.Load(), 1)
}
