"""Scenarios of client.py: large messages, limits, gzip, and readers that pause."""

import time

import grpc

import greeter_pb2 as pb
from peer import AT_ONCE, TIMEOUT_S, echo, expect, requests_of, status_of

KIB = 1 << 10
MIB = 1 << 20

# The default limit of Hawser and of grpcio for what they receive.
LIMIT = 4 * MIB

# Long enough to fill every window between the two sides.
PAUSE_S = 0.5


def large(greeter):
    content = "0123456789abcdef" * (3 << 16)
    reply = greeter.SayHello(pb.MessageRequest(content=content), timeout=TIMEOUT_S).reply
    assert reply == f"Hello, {content}", "unary: the reply is another"
    echo(greeter, [content, "small", content])


def too_large(greeter):
    content = "x" * (5 * MIB)
    code = status_of(lambda: greeter.SayHello(pb.MessageRequest(content=content), timeout=TIMEOUT_S))
    expect("the code", code, grpc.StatusCode.RESOURCE_EXHAUSTED)
    expect("the reply", greeter.SayHello(pb.MessageRequest(content="!"), timeout=TIMEOUT_S).reply, "Hello, !")


def around_frames(greeter):
    """Around what a DATA frame of the default size holds, and around the window that a stream begins with."""
    lengths = [0, 1]
    for size in (16_384, 65_535):
        lengths += range(size - 24, size + 5)
    echo(greeter, ["x" * length for length in lengths])
    for length in lengths:
        reply = greeter.SayHello(pb.MessageRequest(content="y" * length), timeout=TIMEOUT_S).reply
        assert reply == "Hello, " + "y" * length, f"{length} B: the reply is another"


def at_the_limit(compression):
    def run(greeter):
        # A tag and a length of 4 B precede the content.
        for size in (LIMIT - 1, LIMIT):
            total = greeter.Collect(requests_of(["z" * (size - 5)]), timeout=TIMEOUT_S, compression=compression)
            expect("the bytes", total.bytes, size - 5)
        larger = requests_of(["z" * (LIMIT - 4)])
        code = status_of(lambda: greeter.Collect(larger, timeout=TIMEOUT_S, compression=compression))
        expect("the code", code, grpc.StatusCode.RESOURCE_EXHAUSTED)
        echo(greeter, ["!"])

    return run


def response_at_the_limit(greeter):
    # A tag and a length of 4 B precede "Hello, " and the content; the request is 7 B shorter.
    call = lambda size: greeter.SayHello(pb.MessageRequest(content="z" * (size - 12)), timeout=TIMEOUT_S)  # noqa: E731
    for size in (LIMIT - 1, LIMIT):
        expect("the length", len(call(size).reply), size - 5)
    expect("the code", status_of(lambda: call(LIMIT + 1)), grpc.StatusCode.RESOURCE_EXHAUSTED)
    echo(greeter, ["!"])


def gzip(greeter):
    """Whoever started this program looks at the bytes of this on the wire."""
    text = "compress me " * 10_000
    echo(greeter, [text, "short", "", text], compression=grpc.Compression.Gzip)
    reply = greeter.SayHello(
        pb.MessageRequest(content=text), timeout=TIMEOUT_S, compression=grpc.Compression.Gzip
    ).reply
    assert reply == f"Hello, {text}", "unary: the reply is another"


def deflate(greeter):
    """A compression that Hawser does not have."""
    call = lambda: echo(greeter, ["compress me " * 1000], compression=grpc.Compression.Deflate)  # noqa: E731
    expect("the code", status_of(call), grpc.StatusCode.UNIMPLEMENTED)
    echo(greeter, ["!"])


def client_pauses(greeter):
    count = 256
    request = pb.SubscribeRequest(count=count, interval=AT_ONCE)
    call = greeter.Subscribe(request, metadata=[("x-bytes", str(64 * KIB))], timeout=TIMEOUT_S)
    sequences = []
    for notification in call:
        if not sequences:
            time.sleep(PAUSE_S)
        sequences.append(notification.sequence)
        expect("the length", len(notification.content), 64 * KIB)
    expect("the sequences", sequences, list(range(1, count + 1)))


def one_of_many_pauses(greeter):
    """While one call is not read, others on its connection are as usual."""
    count = 256
    request = pb.SubscribeRequest(count=count, interval=AT_ONCE)
    unread = greeter.Subscribe(request, metadata=[("x-bytes", str(64 * KIB))], timeout=TIMEOUT_S)
    expect("the sequence", next(unread).sequence, 1)
    resume_at = time.monotonic() + PAUSE_S
    while time.monotonic() < resume_at:
        echo(greeter, ["x" * 64 * KIB])
    expect("the sequences", [one.sequence for one in unread], list(range(2, count + 1)))


def server_pauses(greeter):
    contents = ["x" * 64 * KIB] * 256
    wait = [("x-wait", str(int(PAUSE_S * 1000)))]
    echo(greeter, contents, metadata=wait)
    total = greeter.Collect(requests_of(contents), metadata=wait, timeout=TIMEOUT_S)
    expect("the total", (total.count, total.bytes), (256, 16 * MIB))


SCENARIOS = {
    "3 MiB messages": large,
    "5 MiB request is RESOURCE_EXHAUSTED": too_large,
    "0 and 1 B, and around 16,384 and 65,535 B": around_frames,
    "requests just under, at and over 4 MiB": at_the_limit(None),
    "gzip requests just under, at and over 4 MiB": at_the_limit(grpc.Compression.Gzip),
    "responses just under, at and over 4 MiB": response_at_the_limit,
    "gzip requests": gzip,
    "deflate requests are UNIMPLEMENTED": deflate,
    "a client that pauses gets everything": client_pauses,
    "a call that is not read delays no other": one_of_many_pauses,
    "a handler that pauses gets everything": server_pauses,
}
