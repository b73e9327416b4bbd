package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// job is the job of a client.
type job struct {
	Address     string `json:"address"`
	CA          string `json:"ca"`
	Workload    string `json:"workload"`
	Streams     int    `json:"streams"`
	Window      int64  `json:"window"`
	Size        int    `json:"size"`
	Connections int    `json:"connections"`
	WarmMs      int    `json:"warmMs"`
	MeasureMs   int    `json:"measureMs"`
}

// gauge counts the replies of one stream. It is padded, so that two gauges never share a cache line.
type gauge struct {
	count     atomic.Int64
	measuring *atomic.Bool
	latencies []float64
	_         [64]byte
}

func (g *gauge) roundTrip(since time.Time) time.Time {
	now := time.Now()
	g.count.Add(1)
	if g.measuring.Load() {
		g.latencies = append(g.latencies, float64(now.Sub(since).Nanoseconds())/1e3)
	}
	return now
}

func drive(open dialer) {
	lines := commands()
	emit(event{Event: "ready"})
	for c := range lines {
		switch {
		case c.GC:
			collectGarbage()
		case c.Job != nil:
			done, err := run(*c.Job, open, lines)
			if err != nil {
				done = event{Event: "failed", Error: err.Error()}
			}
			emit(done)
		}
	}
}

func run(j job, open dialer, lines <-chan command) (event, error) {
	if j.Workload == "idle" {
		return runIdle(j, open, lines)
	}
	c, err := open(j)
	if err != nil {
		return event{}, err
	}
	defer c.close()
	// A call that hangs ends the job after a time limit, so that the run continues.
	limit := time.Duration(j.WarmMs+j.MeasureMs)*time.Millisecond + 20*time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()

	var running, measuring atomic.Bool
	running.Store(true)
	gauges := make([]gauge, j.Streams)
	failures := make(chan error, j.Streams)
	pushes, stopPushes := context.WithCancel(ctx)
	defer stopPushes()
	var streams sync.WaitGroup
	for i := range gauges {
		g := &gauges[i]
		g.measuring = &measuring
		streams.Go(func() {
			var err error
			switch j.Workload {
			case "ping-pong":
				err = pingPong(ctx, c, &running, g)
			case "pipelined":
				err = pipelined(ctx, c, j.Window, &running, g)
			case "push":
				err = push(pushes, c, &running, g)
			case "unary":
				err = unary(ctx, c, &running, g)
			default:
				err = fmt.Errorf("unknown workload %q", j.Workload)
			}
			if err != nil {
				failures <- err
			}
		})
	}
	sum := func() (total int64) {
		for i := range gauges {
			total += gauges[i].count.Load()
		}
		return total
	}
	time.Sleep(time.Duration(j.WarmMs) * time.Millisecond)
	emit(event{Event: "start"})
	measuring.Store(true)
	before, started := sum(), time.Now()
	time.Sleep(time.Duration(j.MeasureMs) * time.Millisecond)
	messages, ms := sum()-before, float64(time.Since(started).Nanoseconds())/1e6
	measuring.Store(false)
	emit(event{Event: "end"})
	running.Store(false)
	stopPushes()
	streams.Wait()
	select {
	case err := <-failures:
		return event{}, err
	default:
	}
	result := event{Event: "done", Messages: messages, Ms: ms}
	var all []float64
	for i := range gauges {
		all = append(all, gauges[i].latencies...)
	}
	if len(all) > 0 {
		slices.Sort(all)
		result.P50Us = all[len(all)/2]
		result.P99Us = all[len(all)*99/100]
	}
	return result, nil
}

// ending waits for the end of a half-closed stream.
func ending(s stream) error {
	if err := s.closeSend(); err != nil {
		return err
	}
	for {
		if err := s.recv(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func pingPong(ctx context.Context, c caller, running *atomic.Bool, g *gauge) error {
	s, err := c.chat(ctx)
	if err != nil {
		return err
	}
	for since := time.Now(); running.Load(); since = g.roundTrip(since) {
		if err := s.send(); err != nil {
			return err
		}
		if err := s.recv(); err != nil {
			return err
		}
	}
	return ending(s)
}

// pipelined keeps window messages in flight: one goroutine sends, this one receives.
func pipelined(ctx context.Context, c caller, window int64, running *atomic.Bool, g *gauge) error {
	s, err := c.chat(ctx)
	if err != nil {
		return err
	}
	room := make(chan struct{}, 1)
	sent := make(chan error, 1)
	go func() {
		for count := int64(0); running.Load(); count++ {
			for count-g.count.Load() >= window {
				if _, open := <-room; !open {
					sent <- nil
					return
				}
			}
			if err := s.send(); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.closeSend()
	}()
	for {
		if err := s.recv(); err != nil {
			close(room)
			if failed := <-sent; failed != nil && failed != io.EOF {
				return failed
			}
			if err == io.EOF {
				return nil
			}
			return err
		}
		g.count.Add(1)
		select {
		case room <- struct{}{}:
		default:
		}
	}
}

func push(ctx context.Context, c caller, running *atomic.Bool, g *gauge) error {
	s, err := c.subscribe(ctx)
	if err != nil {
		return err
	}
	for {
		if err := s.recv(); err != nil {
			if !running.Load() && status.Code(err) == codes.Canceled {
				return nil
			}
			return err
		}
		g.count.Add(1)
	}
}

func unary(ctx context.Context, c caller, running *atomic.Bool, g *gauge) error {
	for since := time.Now(); running.Load(); since = g.roundTrip(since) {
		if err := c.sayHello(ctx); err != nil {
			return err
		}
	}
	return nil
}

// runIdle opens streams over several connections, exchanges one message on each, and
// keeps them open until the command "release".
func runIdle(j job, open dialer, lines <-chan command) (event, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	failures := make(chan error, j.Connections)
	for range j.Connections {
		c, err := open(j)
		if err != nil {
			return event{}, err
		}
		defer c.close()
		go func() { failures <- openIdle(ctx, c, j.Streams/j.Connections) }()
	}
	for range j.Connections {
		if err := <-failures; err != nil {
			return event{}, err
		}
	}
	emit(event{Event: "idle"})
	for c := range lines {
		switch {
		case c.GC:
			collectGarbage()
		case c.Release:
			return event{Event: "done"}, nil
		}
	}
	return event{}, fmt.Errorf("stdin ended")
}

func openIdle(ctx context.Context, c caller, streams int) error {
	for range streams {
		s, err := c.chat(ctx)
		if err != nil {
			return err
		}
		if err := s.send(); err != nil {
			return err
		}
		if err := s.recv(); err != nil {
			return err
		}
	}
	return nil
}
