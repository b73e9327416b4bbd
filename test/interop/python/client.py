"""Runs named scenarios on grpcio against a Greeter server and prints a line each, "PASS name" or "FAIL name: reason".

It exits with 1 when one failed, and at once when its standard input ends.
"""

import argparse
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import greeter_pb2 as pb
import greeter_pb2_grpc as services

TIMEOUT_S = 20
EVERY_BYTE = bytes(range(256))


def numbered(count):
    return [f"Message {i}" for i in range(count)]


def expect(what, got, wanted):
    assert got == wanted, f"{what}: {got!r} instead of {wanted!r}"


def requests_of(contents):
    return (pb.MessageRequest(content=content) for content in contents)


def echo(greeter, contents, metadata=None, compression=None):
    """grpcio sends from a thread of its own while this one receives."""
    call = greeter.Chat(
        requests_of(contents), metadata=metadata, timeout=TIMEOUT_S, compression=compression
    )
    replies = [response.reply for response in call]
    expect("the number of replies", len(replies), len(contents))
    assert replies == [f"Received: {content}" for content in contents], "a reply is not the echo of its message"
    return call


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error
    return grpc.StatusCode.OK, None


def unary(greeter):
    reply = greeter.SayHello(pb.MessageRequest(content="Python"), timeout=TIMEOUT_S).reply
    expect("the reply", reply, "Hello, Python")


def push(greeter):
    call = greeter.Subscribe(pb.SubscribeRequest(count=50, interval=Duration()), timeout=TIMEOUT_S)
    expect("the sequence", [one.sequence for one in call], list(range(1, 51)))


def collect(greeter):
    for count in (0, 1, 1000):
        total = greeter.Collect(requests_of(["grüße"] * count), timeout=TIMEOUT_S)
        expect("the count", (total.count, total.bytes), (count, 7 * count))


class Spoken:
    """Requests that are sent when told to."""

    def __init__(self):
        self._ready = threading.Condition()
        self._contents = []
        self._over = False

    def send(self, content):
        with self._ready:
            self._contents.append(content)
            self._ready.notify()

    def end(self):
        with self._ready:
            self._over = True
            self._ready.notify()

    def __iter__(self):
        return self

    def __next__(self):
        with self._ready:
            while not self._contents and not self._over:
                self._ready.wait()
            if not self._contents:
                raise StopIteration
            return pb.MessageRequest(content=self._contents.pop(0))


def waits_for_headers(greeter):
    """The client opens a chat and waits for the response headers before it sends anything."""
    spoken = Spoken()
    call = greeter.Chat(spoken, timeout=TIMEOUT_S)
    started = time.monotonic()
    call.initial_metadata()
    took = time.monotonic() - started
    assert took < 5, f"the headers came after {took:.1f} s"
    spoken.send("at last")
    expect("the reply", next(call).reply, "Received: at last")
    spoken.end()
    expect("the rest", list(call), [])


def ping_pong(greeter):
    spoken = Spoken()
    call = greeter.Chat(spoken, timeout=TIMEOUT_S)
    for content in numbered(200):
        spoken.send(content)
        expect("the reply", next(call).reply, f"Received: {content}")
    spoken.end()
    expect("the rest", list(call), [])


def bulk(greeter):
    echo(greeter, ["\0" * 65536] * 256)


def overlap(greeter):
    echo(greeter, numbered(2000))


def empty(greeter):
    echo(greeter, [])
    echo(greeter, ["", "", ""])


def late(greeter):
    echo(greeter, numbered(100), metadata=[("x-late", "yes")])


def server_ends_first(greeter):
    spoken = Spoken()
    call = greeter.Chat(spoken, metadata=[("x-end-after", "3")], timeout=TIMEOUT_S)
    for _ in range(5):
        spoken.send("again")
    expect("the number of replies", len(list(call)), 3)
    expect("the status", call.code(), grpc.StatusCode.OK)
    spoken.end()


def metadata_echo(greeter):
    sent = [
        ("x-lead", "one"),
        ("x-lead-bin", EVERY_BYTE),
        ("x-trail", "three, four"),
        ("x-trail-bin", EVERY_BYTE),
        ("x-trail-bin", b"second"),
    ]
    _, call = greeter.SayHello.with_call(pb.MessageRequest(), metadata=sent, timeout=TIMEOUT_S)
    chat = echo(greeter, numbered(3), metadata=sent)
    for one in (call, chat):
        leading = [(n, v) for n, v in one.initial_metadata() if n.startswith("x-")]
        trailing = [(n, v) for n, v in one.trailing_metadata() if n.startswith("x-")]
        expect("leading", sorted(leading), sorted(sent[:2]))
        expect("trailing", sorted(trailing), sorted(sent[2:]))


def failures(greeter):
    """Each code with its message and its details, in every kind of call."""
    for code in grpc.StatusCode:
        number = code.value[0]
        if number == 0:
            continue
        asked = [("x-fail", str(number))]
        got, error = code_of(
            lambda: greeter.SayHello(pb.MessageRequest(), metadata=asked, timeout=TIMEOUT_S)
        )
        expect("the code", got, code)
        expect("the message", error.details(), "failed as asked: 100% ünïcode ☂")
        details = rpc_status.from_call(error).details
        info = error_details_pb2.ErrorInfo()
        assert details[0].Unpack(info) and info.reason == "ASKED", f"the first detail is {details[0]}"
        expect("the number of details", len(details), 2)
    asked = [("x-fail", "10")]
    for call in (
        lambda: greeter.Collect(requests_of([]), metadata=asked, timeout=TIMEOUT_S),
        lambda: list(greeter.Chat(requests_of(["one"]), metadata=asked, timeout=TIMEOUT_S)),
        lambda: list(
            greeter.Subscribe(
                pb.SubscribeRequest(count=3, interval=Duration()), metadata=asked, timeout=TIMEOUT_S
            )
        ),
    ):
        expect("the code", code_of(call)[0], grpc.StatusCode.ABORTED)


def large_status(greeter):
    """A status arrives with its code and its message every time, also where its details are over 8 KiB of trailers."""
    for size in ["1000", "9000", "20000"] * 20:
        asked = [("x-fail-bytes", size)]
        got, error = code_of(
            lambda: greeter.SayHello(pb.MessageRequest(), metadata=asked, timeout=TIMEOUT_S)
        )
        expect("the code", got, grpc.StatusCode.ABORTED)
        assert "failed at length" in error.details(), f"the message is {error.details()!r}"


def deadlines(greeter):
    for call in (
        lambda: greeter.SayHello(pb.MessageRequest(), metadata=[("x-hold", "py-1")], timeout=0.3),
        lambda: list(greeter.Chat(Spoken(), metadata=[("x-hold", "py-2")], timeout=0.3)),
    ):
        started = time.monotonic()
        expect("the code", code_of(call)[0], grpc.StatusCode.DEADLINE_EXCEEDED)
        took = time.monotonic() - started
        assert 0.29 < took < 1.3, f"ended after {took:.2f} s instead of 0.3"


def cancel(greeter):
    spoken = Spoken()
    call = greeter.Chat(spoken, metadata=[("x-hold", "py-cancel")], timeout=TIMEOUT_S)
    spoken.send("one")
    next(call)
    call.cancel()
    expect("the code", code_of(lambda: next(call))[0], grpc.StatusCode.CANCELLED)
    spoken.end()
    asked = greeter.SayHello(pb.MessageRequest(), metadata=[("x-ask", "py-cancel")], timeout=TIMEOUT_S)
    expect("what the handler saw", asked.reply, "canceled")


def gzip(greeter):
    text = "compress me " * 10_000
    echo(greeter, [text, "short", "", text], compression=grpc.Compression.Gzip)


def large(greeter):
    content = "0123456789abcdef" * (3 << 16)
    reply = greeter.SayHello(pb.MessageRequest(content=content), timeout=TIMEOUT_S).reply
    assert reply == f"Hello, {content}", "unary: the reply is another"
    echo(greeter, [content, "small", content])


def too_large(greeter):
    content = "x" * (5 << 20)
    got, _ = code_of(lambda: greeter.SayHello(pb.MessageRequest(content=content), timeout=TIMEOUT_S))
    expect("the code", got, grpc.StatusCode.RESOURCE_EXHAUSTED)
    unary(greeter)


def unknown(greeter):
    del greeter
    for path in ("/example.Greeter/Nothing", "/example.Nobody/SayHello"):
        method = channel.unary_unary(path, lambda _: b"", lambda answer: answer)
        expect("the code", code_of(lambda m=method: m(b"", timeout=TIMEOUT_S))[0], grpc.StatusCode.UNIMPLEMENTED)


def crowd(greeter):
    """Calls of every kind, 1, 2, 10 and 100 at a time."""
    kinds = [
        unary,
        lambda g: list(g.Subscribe(pb.SubscribeRequest(count=3, interval=Duration()), timeout=TIMEOUT_S)),
        lambda g: g.Collect(requests_of(["a", "b"]), timeout=TIMEOUT_S),
        lambda g: echo(g, numbered(3)),
    ]
    for at_once in (1, 2, 10, 100):
        with ThreadPoolExecutor(at_once) as pool:
            calls = [pool.submit(kinds[i % 4], greeter) for i in range(400)]
            for call in calls:
                call.result()


SCENARIOS = {
    "unary": unary,
    "server push": push,
    "client streaming": collect,
    "headers are waited for before the first message": waits_for_headers,
    "ping-pong of 200": ping_pong,
    "2,000 messages while both directions overlap": overlap,
    "16 MiB through a chat": bulk,
    "empty streams both ways": empty,
    "half-close, then replies": late,
    "server ends first": server_ends_first,
    "leading and trailing metadata, ascii and binary": metadata_echo,
    "error with details, every code and kind": failures,
    "a status of 1, 9 and 20 kB arrives every time": large_status,
    "deadlines": deadlines,
    "cancel a chat": cancel,
    "gzip requests": gzip,
    "3 MiB messages": large,
    "5 MiB request is RESOURCE_EXHAUSTED": too_large,
    "unknown method and unknown service": unknown,
    "all kinds, 1 to 100 calls at a time": crowd,
}


def end_with_input():
    sys.stdin.buffer.read()
    os._exit(1)


parser = argparse.ArgumentParser()
parser.add_argument("-target", required=True, help="HOST:PORT")
for name in ("ca", "cert", "key"):
    parser.add_argument(f"-{name}", help="PEM file")
parser.add_argument("scenarios", nargs="*")
flags = parser.parse_args()
threading.Thread(target=end_with_input, daemon=True).start()

if flags.ca is None:
    channel = grpc.insecure_channel(flags.target)
else:
    read = lambda path: open(path, "rb").read() if path else None  # noqa: E731
    channel = grpc.secure_channel(
        flags.target,
        grpc.ssl_channel_credentials(read(flags.ca), read(flags.key), read(flags.cert)),
        options=[("grpc.ssl_target_name_override", "localhost")],
    )

failed = False
for name in flags.scenarios or SCENARIOS:
    try:
        SCENARIOS[name](services.GreeterStub(channel))
        print(f"PASS {name}", flush=True)
    except Exception as error:  # noqa: BLE001
        failed = True
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        print(f"FAIL {name}: {reason[:400]}", flush=True)
# Without waiting for the threads of a failed scenario.
sys.stdout.flush()
os._exit(1 if failed else 0)
