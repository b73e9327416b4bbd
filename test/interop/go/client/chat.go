package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	pb "hawser/interop/greeterpb"
)

type chat = grpc.BidiStreamingClient[pb.MessageRequest, pb.MessageResponse]

// received is all that one goroutine got from a chat, to its end.
type received struct {
	replies []string
	err     error // nil when the server ended the call with OK
}

func receive(stream chat) <-chan received {
	done := make(chan received, 1)
	go func() {
		var all received
		for {
			response, err := stream.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				all.err = err
				break
			}
			all.replies = append(all.replies, response.GetReply())
		}
		done <- all
	}()
	return done
}

// echo opens a chat, sends the messages while a goroutine receives, half-closes
// and expects each of them back, in order.
func (w *world) echo(ctx context.Context, messages []string, options ...grpc.CallOption) (chat, error) {
	stream, err := w.greeter.Chat(ctx, options...)
	if err != nil {
		return nil, err
	}
	done := receive(stream)
	for _, message := range messages {
		if err := stream.Send(&pb.MessageRequest{Content: message}); err != nil {
			return nil, fmt.Errorf("send: %w, %w", err, (<-done).err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	got := <-done
	if got.err != nil {
		return nil, got.err
	}
	return stream, sameReplies(got.replies, messages)
}

func sameReplies(replies, messages []string) error {
	if len(replies) != len(messages) {
		return fmt.Errorf("%d replies for %d messages", len(replies), len(messages))
	}
	for i, message := range messages {
		if replies[i] != "Received: "+message {
			return fmt.Errorf("reply %d is %q for %q", i, short(replies[i]), short(message))
		}
	}
	return nil
}

func short(text string) string {
	if len(text) > 60 {
		return fmt.Sprintf("%s… (%d bytes)", text[:60], len(text))
	}
	return text
}

func numbered(count int) []string {
	messages := make([]string, count)
	for i := range messages {
		messages[i] = fmt.Sprint("Message ", i)
	}
	return messages
}

// noSessions expects a plain call of a server that keeps sessions: none of their headers.
func noSessions(ctx context.Context, w *world) error {
	stream, err := w.echo(ctx, numbered(100))
	if err != nil {
		return err
	}
	header, err := stream.Header()
	if err != nil {
		return err
	}
	for name := range metadata.Join(header, stream.Trailer()) {
		if strings.HasPrefix(name, "hawser-") {
			return fmt.Errorf("the response has %s", name)
		}
	}
	return nil
}

// with adds request metadata, which is where the switches of the server stand.
func with(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func expectCode(err error, code codes.Code) error {
	if status.Code(err) != code {
		return fmt.Errorf("status %v instead of %v: %w", status.Code(err), code, orNil(err))
	}
	return nil
}

func orNil(err error) error {
	if err == nil {
		return fmt.Errorf("no error")
	}
	return err
}

func expect[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is %v instead of %v", what, got, want)
	}
	return nil
}

// ask asks the server how the call that it holds under id ended.
func (w *world) ask(ctx context.Context, id string, outcomes ...string) error {
	reply, err := w.greeter.SayHello(with(ctx, "x-ask", id), &pb.MessageRequest{})
	if err != nil {
		return fmt.Errorf("the server does not see the end of the call: %w", err)
	}
	for _, outcome := range outcomes {
		if reply.GetReply() == outcome {
			return nil
		}
	}
	return fmt.Errorf("the handler saw %q instead of %s", reply.GetReply(), strings.Join(outcomes, " or "))
}

// payloads notes, for a call with a tally in its context, the sizes of messages
// before and after compression.
type payloads struct{}

type tallyKey struct{}

type tally struct{ in, inPlain, out, outPlain int }

func tallied(ctx context.Context) (context.Context, *tally) {
	t := &tally{}
	return context.WithValue(ctx, tallyKey{}, t), t
}

func (payloads) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC runs in the goroutine that sends or receives; each touches its own two fields.
func (payloads) HandleRPC(ctx context.Context, event stats.RPCStats) {
	t, ok := ctx.Value(tallyKey{}).(*tally)
	if !ok {
		return
	}
	switch event := event.(type) {
	case *stats.InPayload:
		t.in += event.CompressedLength
		t.inPlain += event.Length
	case *stats.OutPayload:
		t.out += event.CompressedLength
		t.outPlain += event.Length
	}
}

func (payloads) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (payloads) HandleConn(context.Context, stats.ConnStats) {}
