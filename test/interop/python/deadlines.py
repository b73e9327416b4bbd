"""Scenarios of client.py: deadlines and cancels, and what the handler saw of them."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.duration_pb2 import Duration

import greeter_pb2 as pb
from peer import TIMEOUT_S, Spoken, ask, echo, expect, numbered, status_of

OFTEN = Duration(nanos=1_000_000)


def carried(greeter):
    """The handler knows how much time is left."""
    asked = [("x-deadline", "yes")]
    left = int(greeter.SayHello(pb.MessageRequest(), metadata=asked, timeout=30).reply)
    # grpcio rounds it up to tenths of a second.
    assert 25_000 < left <= 30_101, f"the handler has {left} ms left of 30 s"
    expect("without a deadline", greeter.SayHello(pb.MessageRequest(), metadata=asked).reply, "none")


def deadline(call):
    """A scenario of a call that is held, and has a deadline of 300 ms."""

    def run(greeter):
        held = f"py-deadline-{call.__name__}"
        started = time.monotonic()
        code = status_of(lambda: call(greeter, metadata=[("x-hold", held)], timeout=0.3))
        expect("the code", code, grpc.StatusCode.DEADLINE_EXCEEDED)
        took = time.monotonic() - started
        assert 0.29 < took < 1.3, f"ended after {took:.2f} s instead of 0.3"
        # The client's reset may arrive before the server's timer fires.
        saw = ask(greeter, held)
        assert saw in ("deadline", "canceled"), f"the handler saw {saw!r}"

    return run


def unary(greeter, **options):
    greeter.SayHello(pb.MessageRequest(), **options)


def chat(greeter, **options):
    list(greeter.Chat(Spoken(), **options))


def push(greeter, **options):
    for _ in greeter.Subscribe(pb.SubscribeRequest(interval=OFTEN), **options):
        pass


def collect(greeter, **options):
    greeter.Collect(Spoken(), **options)


def held_under(held):
    return {"metadata": [("x-hold", held)], "timeout": TIMEOUT_S}


def cancel_unary(greeter):
    call = greeter.SayHello.future(pb.MessageRequest(), **held_under("py-cancel-unary"))
    expect("it has begun", ask(greeter, "py-cancel-unary begun"), "yes")
    call.cancel()
    assert call.cancelled(), "it is not cancelled"
    expect("what the handler saw", ask(greeter, "py-cancel-unary"), "canceled")


def cancel_chat(greeter):
    spoken = Spoken()
    call = greeter.Chat(spoken, **held_under("py-cancel"))
    spoken.send("one")
    next(call)
    call.cancel()
    expect("the code", status_of(lambda: next(call)), grpc.StatusCode.CANCELLED)
    spoken.end()
    expect("what the handler saw", ask(greeter, "py-cancel"), "canceled")


def cancel_push(greeter):
    call = greeter.Subscribe(pb.SubscribeRequest(interval=OFTEN), **held_under("py-cancel-push"))
    for notification in call:
        if notification.sequence == 5:
            call.cancel()
            break
    expect("the code", status_of(lambda: list(call)), grpc.StatusCode.CANCELLED)
    expect("what the handler saw", ask(greeter, "py-cancel-push"), "canceled")


def cancel_collect(greeter):
    spoken = Spoken()
    call = greeter.Collect.future(spoken, **held_under("py-cancel-collect"))
    spoken.send("one")
    expect("it has begun", ask(greeter, "py-cancel-collect begun"), "yes")
    call.cancel()
    spoken.end()
    expect("what the handler saw", ask(greeter, "py-cancel-collect"), "canceled")


def cancel_at_once(greeter):
    """100 calls of each kind that are cancelled as soon as they are made."""
    for _ in range(100):
        spoken = Spoken()
        calls = (
            greeter.Chat(spoken, timeout=TIMEOUT_S),
            greeter.Collect.future(spoken, timeout=TIMEOUT_S),
            greeter.Subscribe(pb.SubscribeRequest(), timeout=TIMEOUT_S),
            greeter.SayHello.future(pb.MessageRequest(), timeout=TIMEOUT_S),
        )
        for call in calls:
            call.cancel()
        spoken.end()
    echo(greeter, numbered(3))


def cancel_after_first(greeter):
    """200 chats, each cancelled after its first reply, while others are made."""

    def one():
        spoken = Spoken()
        call = greeter.Chat(spoken, timeout=TIMEOUT_S)
        spoken.send("one")
        expect("the reply", next(call).reply, "Received: one")
        call.cancel()
        expect("the code", status_of(lambda: next(call)), grpc.StatusCode.CANCELLED)
        spoken.end()

    with ThreadPoolExecutor(4) as pool:
        for call in [pool.submit(one) for _ in range(200)]:
            call.result()
    echo(greeter, numbered(3))


SCENARIOS = {
    "deadline is carried": carried,
    "deadline of a unary call": deadline(unary),
    "deadline of a chat that waits for a request": deadline(chat),
    "deadline of a push": deadline(push),
    "deadline of a client stream": deadline(collect),
    "cancel a unary call": cancel_unary,
    "cancel a chat": cancel_chat,
    "cancel a push": cancel_push,
    "cancel a client stream": cancel_collect,
    "cancel as soon as a call is made": cancel_at_once,
    "200 chats, each cancelled after its first reply": cancel_after_first,
}
