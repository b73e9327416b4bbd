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

// crowd makes calls of every kind, 1, 2, 10 and 100 at a time.
func crowd(ctx context.Context, w *world) error {
	kinds := []func(context.Context, *world) error{unary, shortPush, shortCollect, shortChat}
	for _, atOnce := range []int{1, 2, 10, 100} {
		const calls = 1000
		var wait sync.WaitGroup
		errs := make(chan error, atOnce)
		for caller := range atOnce {
			wait.Add(1)
			go func() {
				defer wait.Done()
				for i := caller; i < calls; i += atOnce {
					if err := kinds[i%len(kinds)](ctx, w); err != nil {
						errs <- fmt.Errorf("%d at a time: %w", atOnce, err)
						return
					}
				}
			}()
		}
		wait.Wait()
		select {
		case err := <-errs:
			return err
		default:
		}
	}
	return nil
}

func shortPush(ctx context.Context, w *world) error {
	stream, err := w.greeter.Subscribe(ctx, &pb.SubscribeRequest{Count: 3, Interval: durationpb.New(0)})
	if err != nil {
		return err
	}
	for sequence := uint64(1); sequence <= 3; sequence++ {
		notification, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := expect("the sequence", notification.GetSequence(), sequence); err != nil {
			return err
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("%w instead of the end", orNil(err))
	}
	return nil
}

func shortCollect(ctx context.Context, w *world) error {
	stream, err := w.greeter.Collect(ctx)
	if err != nil {
		return err
	}
	for range 2 {
		if err := stream.Send(&pb.MessageRequest{Content: "a"}); err != nil {
			return err
		}
	}
	total, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	return expect("the count", total.GetCount(), uint32(2))
}

func shortChat(ctx context.Context, w *world) error {
	_, err := w.echo(ctx, numbered(3))
	return err
}

// headersAwaited opens a chat and waits for the response headers before it sends anything, as tonic's clients do.
func headersAwaited(ctx context.Context, w *world) error {
	stream, err := w.greeter.Chat(ctx)
	if err != nil {
		return err
	}
	started := time.Now()
	if _, err := stream.Header(); err != nil {
		return err
	}
	if took := time.Since(started); took > 5*time.Second {
		return fmt.Errorf("the headers came after %v", took)
	}
	if err := stream.Send(&pb.MessageRequest{Content: "at last"}); err != nil {
		return err
	}
	response, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := expect("the reply", response.GetReply(), "Received: at last"); err != nil {
		return err
	}
	return endOfChat(stream)
}
