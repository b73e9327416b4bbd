package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "hawser/interop/greeterpb"
)

func gzipRequests(ctx context.Context, w *world) error {
	message := strings.Repeat("compress me ", 10_000)
	ctx, sizes := tallied(ctx)
	if _, err := w.echo(ctx, []string{message, "short", "", message}, grpc.UseCompressor(gzip.Name)); err != nil {
		return err
	}
	if sizes.out > sizes.outPlain/10 {
		return fmt.Errorf("%d bytes went out as %d", sizes.outPlain, sizes.out)
	}
	_, err := w.greeter.SayHello(ctx, &pb.MessageRequest{Content: message}, grpc.UseCompressor(gzip.Name))
	return err
}

func gzipResponses(ctx context.Context, w *world) error {
	message := strings.Repeat("compress me ", 10_000)
	ctx, sizes := tallied(with(ctx, "x-gzip", "yes"))
	if _, err := w.echo(ctx, []string{message, "short", "", message}); err != nil {
		return err
	}
	if sizes.in > sizes.inPlain/10 {
		return fmt.Errorf("%d bytes came in as %d", sizes.inPlain, sizes.in)
	}
	_, err := w.echo(ctx, []string{message, message}, grpc.UseCompressor(gzip.Name))
	return err
}

func large(ctx context.Context, w *world) error {
	content := string(bytes.Repeat([]byte("0123456789abcdef"), 3<<16))
	if _, err := w.greeter.SayHello(ctx, &pb.MessageRequest{Content: content}); err != nil {
		return fmt.Errorf("unary: %w", err)
	}
	if _, err := w.echo(ctx, []string{content, "small", content}); err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	upload, err := w.greeter.Collect(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		if err := upload.Send(&pb.MessageRequest{Content: content}); err != nil {
			return fmt.Errorf("client streaming: %w", err)
		}
	}
	total, err := upload.CloseAndRecv()
	if err != nil {
		return fmt.Errorf("client streaming: %w", err)
	}
	if err := expect("the bytes", total.GetBytes(), uint64(3*len(content))); err != nil {
		return err
	}
	request := &pb.SubscribeRequest{Count: 3, Interval: durationpb.New(0)}
	pushed, err := w.greeter.Subscribe(with(ctx, "x-bytes", strconv.Itoa(len(content))), request)
	if err != nil {
		return err
	}
	for range 3 {
		notification, err := pushed.Recv()
		if err != nil {
			return fmt.Errorf("push: %w", err)
		}
		if err := expect("the length", len(notification.GetContent()), len(content)); err != nil {
			return err
		}
	}
	if _, err = pushed.Recv(); err != io.EOF {
		return fmt.Errorf("push: %w instead of the end", orNil(err))
	}
	return nil
}

func tooLarge(ctx context.Context, w *world) error {
	content := strings.Repeat("x", 5<<20)
	_, err := w.greeter.SayHello(ctx, &pb.MessageRequest{Content: content})
	if err := expectCode(err, codes.ResourceExhausted); err != nil {
		return err
	}
	stream, err := w.greeter.Chat(ctx)
	if err != nil {
		return err
	}
	// Send may already see the end of the call; the status is what Recv gives.
	_ = stream.Send(&pb.MessageRequest{Content: content})
	if _, err = stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		return fmt.Errorf("chat: %w", orNil(err))
	}
	return unary(ctx, w)
}
