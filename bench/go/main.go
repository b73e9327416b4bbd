// The Go half of the benchmark, one program with three roles:
//
//	server   grpc-go's server under test
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
	Version  string  `json:"version,omitempty"`
	Error    string  `json:"error,omitempty"`
	Messages int64   `json:"messages,omitempty"`
	Ms       float64 `json:"ms,omitempty"`
	P50Us    float64 `json:"p50Us,omitempty"`
	P99Us    float64 `json:"p99Us,omitempty"`
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

func collectGarbage() {
	debug.FreeOSMemory()
	emit(event{Event: "collected"})
}

func main() {
	role := ""
	if len(os.Args) == 2 {
		role = os.Args[1]
	}
	switch role {
	case "server":
		serve()
	case "client":
		drive(dialTyped)
	case "load":
		drive(dialRaw)
	default:
		fmt.Fprintln(os.Stderr, "usage: bench server|client|load")
		os.Exit(2)
	}
}
