package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "hawser/interop/greeterpb"
)

type greeter struct {
	pb.UnimplementedGreeterServer
	calls *outcomes
	drain func()
}

// switches are the request metadata of a call, as its handler reads them.
type switches metadata.MD

// begin reads the switches and does what concerns every kind of call: the
// metadata to echo, and the compression of the answer.
func begin(ctx context.Context) (switches, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	lead, trail := metadata.MD{}, metadata.MD{}
	for key, values := range md {
		if strings.HasPrefix(key, "x-lead") {
			lead[key] = values
		} else if strings.HasPrefix(key, "x-trail") {
			trail[key] = values
		}
	}
	s := switches(md)
	if s.has("x-names") {
		trail["x-names"] = slices.Sorted(maps.Keys(md))
	}
	err := errors.Join(grpc.SetHeader(ctx, lead), grpc.SetTrailer(ctx, trail))
	if s.has("x-gzip") {
		err = errors.Join(err, grpc.SetSendCompressor(ctx, "gzip"))
	}
	return s, err
}

func (s switches) has(name string) bool { return len(s[name]) > 0 }

func (s switches) text(name string) string { return strings.Join(s[name], ",") }

func (s switches) number(name string) int {
	n, err := strconv.Atoi(s.text(name))
	if err != nil {
		return -1
	}
	return n
}

// wait delays the reading of requests as x-wait asks.
func (s switches) wait(ctx context.Context) {
	if !s.has("x-wait") {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(s.number("x-wait")) * time.Millisecond):
	}
}

// failure is the error that x-fail asks for, with two details; nil without it.
func (s switches) failure() error {
	if !s.has("x-fail") {
		return nil
	}
	failed := status.New(codes.Code(s.number("x-fail")), "failed as asked: 100% ünïcode ☂")
	failed, err := failed.WithDetails(
		&errdetails.ErrorInfo{Reason: "ASKED", Domain: "example"},
		&pb.MessageResponse{Reply: "a detail"},
	)
	if err != nil {
		return err
	}
	return failed.Err()
}

// hold keeps a call open until it is cancelled, then records how it ended.
func (g *greeter) hold(ctx context.Context, id string) error {
	g.calls.put(id+" begun", "yes")
	<-ctx.Done()
	g.calls.put(id, ending(ctx))
	return status.FromContextError(ctx.Err()).Err()
}

// ended records how a call with x-hold ended whose requests cannot be read.
func (g *greeter) ended(ctx context.Context, s switches) {
	if s.has("x-hold") {
		<-ctx.Done()
		g.calls.put(s.text("x-hold"), ending(ctx))
	}
}

func ending(ctx context.Context) string {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "deadline"
	case ctx.Err() != nil:
		return "canceled"
	}
	return "open"
}

func (g *greeter) SayHello(ctx context.Context, in *pb.MessageRequest) (*pb.MessageResponse, error) {
	s, err := begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.failure(); err != nil {
		return nil, err
	}
	switch {
	case s.has("x-hold"):
		return nil, g.hold(ctx, s.text("x-hold"))
	case s.has("x-ask"):
		outcome, err := g.calls.wait(ctx, s.text("x-ask"))
		return &pb.MessageResponse{Reply: outcome}, err
	case s.has("x-peer"):
		reply := "unknown"
		if client, ok := peer.FromContext(ctx); ok {
			reply = client.Addr.String()
		}
		return &pb.MessageResponse{Reply: reply}, nil
	case s.has("x-deadline"):
		reply := "none"
		if deadline, ok := ctx.Deadline(); ok {
			reply = strconv.FormatInt(time.Until(deadline).Milliseconds(), 10)
		}
		return &pb.MessageResponse{Reply: reply}, nil
	}
	return &pb.MessageResponse{Reply: "Hello, " + in.GetContent()}, nil
}

func (g *greeter) Chat(stream grpc.BidiStreamingServer[pb.MessageRequest, pb.MessageResponse]) error {
	ctx := stream.Context()
	s, err := begin(ctx)
	if err != nil {
		return err
	}
	if s.has("x-headers-first") {
		if err := stream.SendHeader(nil); err != nil {
			return err
		}
	}
	if s.has("x-drain") {
		go g.drain()
	}
	s.wait(ctx)
	endAfter := s.number("x-end-after")
	var late []*pb.MessageResponse
	for count := 0; count != endAfter; count++ {
		in, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			g.ended(ctx, s)
			return err
		}
		reply := &pb.MessageResponse{Reply: "Received: " + in.GetContent()}
		if s.has("x-late") {
			late = append(late, reply)
			continue
		}
		if err := stream.Send(reply); err != nil {
			return err
		}
		if err := s.failure(); err != nil {
			return err
		}
	}
	for _, reply := range late {
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
	if s.has("x-wire") {
		stream.SetTrailer(wireOf(ctx))
	}
	return nil
}

func (g *greeter) Collect(stream grpc.ClientStreamingServer[pb.MessageRequest, pb.CollectResponse]) error {
	ctx := stream.Context()
	s, err := begin(ctx)
	if err != nil {
		return err
	}
	if err := s.failure(); err != nil {
		return err
	}
	s.wait(ctx)
	if s.has("x-hold") {
		g.calls.put(s.text("x-hold")+" begun", "yes")
	}
	total := &pb.CollectResponse{}
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(total)
		}
		if err != nil {
			g.ended(ctx, s)
			return err
		}
		total.Count++
		total.Bytes += uint64(len(in.GetContent()))
	}
}

func (g *greeter) Subscribe(in *pb.SubscribeRequest, stream grpc.ServerStreamingServer[pb.Notification]) error {
	ctx := stream.Context()
	s, err := begin(ctx)
	if err != nil {
		return err
	}
	interval := time.Second
	if in.GetInterval() != nil {
		interval = in.GetInterval().AsDuration()
	}
	content := "notification"
	if s.has("x-bytes") {
		content = strings.Repeat("x", s.number("x-bytes"))
	}
	for sequence := uint64(1); in.GetCount() == 0 || sequence <= uint64(in.GetCount()); sequence++ {
		select {
		case <-ctx.Done():
			if s.has("x-hold") {
				g.calls.put(s.text("x-hold"), ending(ctx))
			}
			return status.FromContextError(ctx.Err()).Err()
		case <-time.After(interval):
		}
		notification := &pb.Notification{Sequence: sequence, Content: content, Time: timestamppb.Now()}
		if err := stream.Send(notification); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return s.failure()
}
