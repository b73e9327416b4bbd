// The Go half of the benchmark, one program with three roles:
//
//	server   grpc-go's server under test; over TLS if a certificate and its key follow
//	client   grpc-go's client under test: generated code, protobuf messages
//	load     the load on servers under test: the same loops, with messages that are made once,
//	         so that the load uses little CPU
//
// All three read and write JSON lines on stdin and stdout, as every program under bench/
// does (see bench/commands.ts), and end when stdin ends.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"runtime"
	"runtime/debug"
)

// command is one line of stdin: a job for a client, or a command to the program itself.
type command struct {
	Job     *job `json:"job"`
	GC      bool `json:"gc"`
	Release bool `json:"release"`
}

// event is one line of stdout.
type event struct {
	Event    string  `json:"event"`
	Address  string  `json:"address,omitempty"`
	Error    string  `json:"error,omitempty"`
	Messages int64   `json:"messages,omitempty"`
	Ms       float64 `json:"ms,omitempty"`
	P50Us    float64 `json:"p50Us,omitempty"`
	P99Us    float64 `json:"p99Us,omitempty"`
	// UsedBytes is the memory in use after the garbage collection.
	UsedBytes uint64 `json:"usedBytes,omitempty"`
}

func emit(e event) {
	if err := json.NewEncoder(os.Stdout).Encode(e); err != nil {
		log.Fatal(err)
	}
}

// commands returns a channel of the lines of stdin, which closes when stdin ends.
func commands() <-chan command {
	lines := make(chan command)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(os.Stdin)
		for scanner.Scan() {
			var c command
			if err := json.Unmarshal(scanner.Bytes(), &c); err != nil {
				log.Fatalf("stdin: %v", err)
			}
			lines <- c
		}
	}()
	return lines
}

// collectGarbage collects garbage, and reports the memory of objects and of stacks.
func collectGarbage() {
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	emit(event{Event: "collected", UsedBytes: stats.HeapAlloc + stats.StackInuse})
}

func main() {
	role, args := "", []string{}
	if len(os.Args) > 1 {
		role, args = os.Args[1], os.Args[2:]
	}
	switch role {
	case "server":
		serve(args)
	case "client":
		drive(dialTyped)
	case "load":
		drive(dialRaw)
	default:
		fmt.Fprintln(os.Stderr, "usage: peer server [CERT KEY]|client|load")
		os.Exit(2)
	}
}
