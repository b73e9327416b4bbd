"""Scenarios of client.py: calls of each kind, one at a time and many."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc

import greeter_pb2 as pb
from peer import AT_ONCE, TIMEOUT_S, Spoken, echo, expect, numbered, requests_of, status_of


def unary(greeter):
    reply = greeter.SayHello(pb.MessageRequest(content="Python"), timeout=TIMEOUT_S).reply
    expect("the reply", reply, "Hello, Python")


def push(greeter):
    call = greeter.Subscribe(pb.SubscribeRequest(count=50, interval=AT_ONCE), timeout=TIMEOUT_S)
    expect("the sequence", [one.sequence for one in call], list(range(1, 51)))


def collect(greeter):
    for count in (0, 1, 1000):
        total = greeter.Collect(requests_of(["grüße"] * count), timeout=TIMEOUT_S)
        expect("the count", (total.count, total.bytes), (count, 7 * count))


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


def unknown(channel):
    for path in ("/example.Greeter/Nothing", "/example.Nobody/SayHello"):
        method = channel.unary_unary(path, lambda _: b"", lambda answer: answer)
        expect("the code", status_of(lambda m=method: m(b"", timeout=TIMEOUT_S)), grpc.StatusCode.UNIMPLEMENTED)


def crowd(greeter):
    """Calls of every kind, 1, 2, 10 and 100 at a time."""
    kinds = [
        unary,
        lambda g: list(g.Subscribe(pb.SubscribeRequest(count=3, interval=AT_ONCE), timeout=TIMEOUT_S)),
        lambda g: g.Collect(requests_of(["a", "b"]), timeout=TIMEOUT_S),
        lambda g: echo(g, numbered(3)),
    ]
    for at_once in (1, 2, 10, 100):
        with ThreadPoolExecutor(at_once) as pool:
            calls = [pool.submit(kinds[i % 4], greeter) for i in range(400)]
            for call in calls:
                call.result()


def at_once(greeter):
    """1,500 unary calls and 375 chats, which are all open before one of them ends."""
    spoken = [Spoken() for _ in range(375)]
    chats = [greeter.Chat(one, timeout=TIMEOUT_S) for one in spoken]
    calls = [
        greeter.SayHello.future(pb.MessageRequest(content=str(i)), timeout=TIMEOUT_S) for i in range(1500)
    ]
    for one in spoken:
        one.send("here")
    for chat in chats:
        expect("the reply", next(chat).reply, "Received: here")
    for i, call in enumerate(calls):
        expect("the reply", call.result().reply, f"Hello, {i}")
    for one in spoken:
        one.end()
    for chat in chats:
        expect("the rest", list(chat), [])


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
    "all kinds, 1 to 100 calls at a time": crowd,
    "1,500 calls at once, and 375 chats": at_once,
}
