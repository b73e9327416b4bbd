package main

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// outcomes remembers how the calls with x-hold ended, until x-ask asks.
type outcomes struct {
	mu sync.Mutex
	of map[string]chan string
}

func newOutcomes() *outcomes { return &outcomes{of: map[string]chan string{}} }

func (o *outcomes) slot(id string) chan string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of[id] == nil {
		o.of[id] = make(chan string, 1)
	}
	return o.of[id]
}

func (o *outcomes) put(id, outcome string) {
	select {
	case o.slot(id) <- outcome:
	default:
	}
}

func (o *outcomes) wait(ctx context.Context, id string) (string, error) {
	select {
	case outcome := <-o.slot(id):
		return outcome, nil
	case <-ctx.Done():
		return "", status.FromContextError(ctx.Err()).Err()
	}
}

// wireCounter counts, for x-wire, the bytes of messages before and after
// compression: what tells whether gzip was used, and in which direction.
type wireCounter struct{}

type wireKey struct{}

type wire struct{ in, inPlain, out, outPlain atomic.Int64 }

func wireOf(ctx context.Context) metadata.MD {
	w := ctx.Value(wireKey{}).(*wire)
	text := func(n *atomic.Int64) string { return strconv.FormatInt(n.Load(), 10) }
	return metadata.Pairs("x-wire-in", text(&w.in), "x-wire-in-plain", text(&w.inPlain),
		"x-wire-out", text(&w.out), "x-wire-out-plain", text(&w.outPlain))
}

func (wireCounter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, wireKey{}, &wire{})
}

func (wireCounter) HandleRPC(ctx context.Context, event stats.RPCStats) {
	w, tagged := ctx.Value(wireKey{}).(*wire)
	if !tagged { // a path that is no method's
		return
	}
	switch event := event.(type) {
	case *stats.InPayload:
		w.in.Add(int64(event.CompressedLength))
		w.inPlain.Add(int64(event.Length))
	case *stats.OutPayload:
		w.out.Add(int64(event.CompressedLength))
		w.outPlain.Add(int64(event.Length))
	}
}

func (wireCounter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (wireCounter) HandleConn(context.Context, stats.ConnStats) {}
