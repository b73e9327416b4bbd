package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "hawser/interop/greeterpb"
)

func metadataEcho(ctx context.Context, w *world) error {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	ctx = with(ctx, "x-lead", "one", "x-lead", "two", "x-lead-bin", string(every), "x-lead-bin", "\x00",
		"x-trail", "three, four", "x-trail-bin", string(every), "x-trail-bin", "second")
	var header, trailer metadata.MD
	if _, err := w.greeter.SayHello(ctx, &pb.MessageRequest{}, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		return err
	}
	check := func(kind string) error {
		// Repeated text may arrive joined, as HTTP has it; binary values may not.
		if got := strings.Join(header["x-lead"], ", "); got != "one, two" {
			return fmt.Errorf("%s: x-lead is %q", kind, got)
		}
		if got := strings.Join(trailer["x-trail"], ", "); got != "three, four" {
			return fmt.Errorf("%s: x-trail is %q", kind, got)
		}
		if got := header["x-lead-bin"]; !slices.Equal(got, []string{string(every), "\x00"}) {
			return fmt.Errorf("%s: x-lead-bin is %q", kind, got)
		}
		if got := trailer["x-trail-bin"]; !slices.Equal(got, []string{string(every), "second"}) {
			return fmt.Errorf("%s: x-trail-bin is %q", kind, got)
		}
		return nil
	}
	if err := check("unary"); err != nil {
		return err
	}
	stream, err := w.echo(ctx, numbered(3))
	if err != nil {
		return err
	}
	if header, err = stream.Header(); err != nil {
		return err
	}
	trailer = stream.Trailer()
	return check("chat")
}

func headersFirst(ctx context.Context, w *world) error {
	stream, err := w.greeter.Chat(with(ctx, "x-headers-first", "yes", "x-lead", "early"))
	if err != nil {
		return err
	}
	header, err := stream.Header()
	if err != nil {
		return err
	}
	if !slices.Equal(header["x-lead"], []string{"early"}) {
		return fmt.Errorf("the leading metadata is %v", header)
	}
	return endOfChat(stream)
}

// asked checks the status that x-fail asked for, details included.
func asked(err error, code codes.Code) error {
	if err := expectCode(err, code); err != nil {
		return err
	}
	failed := status.Convert(err)
	if failed.Message() != "failed as asked: 100% ünïcode ☂" {
		return fmt.Errorf("the message is %q", failed.Message())
	}
	if len(failed.Details()) != 2 {
		return fmt.Errorf("the details are %v", failed.Details())
	}
	info, ok := failed.Details()[0].(*errdetails.ErrorInfo)
	if !ok || info.GetReason() != "ASKED" || info.GetDomain() != "example" {
		return fmt.Errorf("the first detail is %v", failed.Details()[0])
	}
	if own, ok := failed.Details()[1].(*pb.MessageResponse); !ok || own.GetReply() != "a detail" {
		return fmt.Errorf("the second detail is %v", failed.Details()[1])
	}
	return nil
}

func failUnary(ctx context.Context, w *world) error {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		_, err := w.greeter.SayHello(with(ctx, "x-fail", strconv.Itoa(int(code))), &pb.MessageRequest{})
		if err := asked(err, code); err != nil {
			return err
		}
	}
	return nil
}

func failCollect(ctx context.Context, w *world) error {
	stream, err := w.greeter.Collect(with(ctx, "x-fail", "9"))
	if err != nil {
		return err
	}
	_, err = stream.CloseAndRecv()
	return asked(err, codes.FailedPrecondition)
}

func failPush(ctx context.Context, w *world) error {
	request := &pb.SubscribeRequest{Count: 3, Interval: durationpb.New(0)}
	stream, err := w.greeter.Subscribe(with(ctx, "x-fail", "5"), request)
	if err != nil {
		return err
	}
	for range 3 {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
	_, err = stream.Recv()
	return asked(err, codes.NotFound)
}

func failChat(ctx context.Context, w *world) error {
	stream, err := w.greeter.Chat(with(ctx, "x-fail", "10"))
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.MessageRequest{Content: "one"}); err != nil {
		return err
	}
	got := <-receive(stream)
	if err := asked(got.err, codes.Aborted); err != nil {
		return err
	}
	return sameReplies(got.replies, []string{"one"})
}

func unknown(ctx context.Context, w *world) error {
	for _, path := range []string{"/example.Greeter/Nothing", "/example.Nobody/SayHello", "/nowhere"} {
		err := w.conn.Invoke(ctx, path, &pb.MessageRequest{}, &pb.MessageResponse{})
		if err := expectCode(err, codes.Unimplemented); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func deadlineCarried(ctx context.Context, w *world) error {
	ctx = context.WithoutCancel(ctx)
	for _, timeout := range []time.Duration{30 * time.Second, 100 * 24 * time.Hour} {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		reply, err := w.greeter.SayHello(with(ctx, "x-deadline", "yes"), &pb.MessageRequest{})
		cancel()
		if err != nil {
			return err
		}
		ms, err := strconv.ParseInt(reply.GetReply(), 10, 64)
		// grpc-timeout has eight digits: 100 days travel as minutes, rounded up.
		left := time.Duration(ms) * time.Millisecond
		if err != nil || left > timeout+time.Minute || left < timeout-5*time.Second {
			return fmt.Errorf("the handler has %q ms left of %v", reply.GetReply(), timeout)
		}
	}
	reply, err := w.greeter.SayHello(with(ctx, "x-deadline", "yes"), &pb.MessageRequest{})
	if err != nil {
		return err
	}
	return expect("the deadline of a call without one", reply.GetReply(), "none")
}

// onTime checks that a call with a deadline of 300 ms ended with it.
func onTime(start time.Time, err error) error {
	took := time.Since(start)
	if took < 290*time.Millisecond || took > 1300*time.Millisecond {
		return fmt.Errorf("ended after %v instead of 300 ms", took)
	}
	return expectCode(err, codes.DeadlineExceeded)
}

func deadlineUnary(ctx context.Context, w *world) error {
	start := time.Now()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err := w.greeter.SayHello(with(short, "x-hold", "go-deadline-unary"), &pb.MessageRequest{})
	if err := onTime(start, err); err != nil {
		return err
	}
	// The client's RST may overtake the server's own clock.
	return w.ask(ctx, "go-deadline-unary", "deadline", "canceled")
}

func deadlineChat(ctx context.Context, w *world) error {
	start := time.Now()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	stream, err := w.greeter.Chat(with(short, "x-hold", "go-deadline-chat"))
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.MessageRequest{Content: "one"}); err != nil {
		return err
	}
	got := <-receive(stream)
	if err := onTime(start, got.err); err != nil {
		return err
	}
	if err := sameReplies(got.replies, []string{"one"}); err != nil {
		return err
	}
	return w.ask(ctx, "go-deadline-chat", "deadline", "canceled")
}

func cancelUnary(ctx context.Context, w *world) error {
	doomed, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := w.greeter.SayHello(with(doomed, "x-hold", "go-cancel-unary"), &pb.MessageRequest{})
		ended <- err
	}()
	if err := w.ask(ctx, "go-cancel-unary begun", "yes"); err != nil {
		return err
	}
	cancel()
	if err := expectCode(<-ended, codes.Canceled); err != nil {
		return err
	}
	return w.ask(ctx, "go-cancel-unary", "canceled")
}

func cancelChat(ctx context.Context, w *world) error {
	doomed, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.greeter.Chat(with(doomed, "x-hold", "go-cancel-chat"))
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.MessageRequest{Content: "one"}); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil {
		return err
	}
	done := receive(stream)
	cancel()
	if err := expectCode((<-done).err, codes.Canceled); err != nil {
		return err
	}
	return w.ask(ctx, "go-cancel-chat", "canceled")
}

func cancelPush(ctx context.Context, w *world) error {
	doomed, cancel := context.WithCancel(ctx)
	defer cancel()
	request := &pb.SubscribeRequest{Interval: durationpb.New(time.Millisecond)}
	stream, err := w.greeter.Subscribe(with(doomed, "x-hold", "go-cancel-push"), request)
	if err != nil {
		return err
	}
	for err == nil {
		notification := &pb.Notification{}
		if notification, err = stream.Recv(); notification.GetSequence() == 5 {
			cancel()
		}
	}
	if err := expectCode(err, codes.Canceled); err != nil {
		return err
	}
	return w.ask(ctx, "go-cancel-push", "canceled")
}

// drain asks the server to shut down gracefully while a chat runs: the chat
// continues to its end, new calls are refused.
func drain(ctx context.Context, w *world) error {
	stream, err := w.greeter.Chat(with(ctx, "x-drain", "yes"))
	if err != nil {
		return err
	}
	for err == nil {
		_, err = w.greeter.SayHello(ctx, &pb.MessageRequest{})
	}
	if err := expectCode(err, codes.Unavailable); err != nil {
		return err
	}
	for _, message := range numbered(100) {
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

func refused(ctx context.Context, w *world) error {
	_, err := w.greeter.SayHello(ctx, &pb.MessageRequest{})
	return expectCode(err, codes.Unavailable)
}
