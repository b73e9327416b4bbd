"""Scenarios of client.py: metadata, errors, early ends."""

import threading

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import greeter_pb2 as pb
from peer import AT_ONCE, EVERY_BYTE, TIMEOUT_S, Spoken, code_of, echo, expect, numbered, requests_of, status_of

MEBIBYTE = "x" * (1 << 20)
MESSAGE = "failed as asked: 100% ünïcode ☂"


def server_ends_first(greeter):
    spoken = Spoken()
    call = greeter.Chat(spoken, metadata=[("x-end-after", "3")], timeout=TIMEOUT_S)
    for _ in range(5):
        spoken.send("again")
    expect("the number of replies", len(list(call)), 3)
    expect("the status", call.code(), grpc.StatusCode.OK)
    spoken.end()


def server_ends_at_once(greeter):
    """The server ends without reading."""
    call = greeter.Chat(Spoken(), metadata=[("x-end-after", "0")], timeout=TIMEOUT_S)
    expect("the replies", list(call), [])
    expect("the status", call.code(), grpc.StatusCode.OK)


def large_requests():
    while True:
        yield pb.MessageRequest(content=MEBIBYTE)


def ends_while_sending(greeter):
    """The server ends the call while the client still sends messages that are larger than the window."""
    call = greeter.Chat(large_requests(), metadata=[("x-end-after", "1")], timeout=TIMEOUT_S)
    expect("the number of replies", len(list(call)), 1)
    expect("the status", call.code(), grpc.StatusCode.OK)
    echo(greeter, numbered(3))


def fails_while_sending(greeter):
    asked = [("x-fail", "9")]
    for call in (
        lambda: list(greeter.Chat(large_requests(), metadata=asked, timeout=TIMEOUT_S)),
        lambda: greeter.Collect(large_requests(), metadata=asked, timeout=TIMEOUT_S),
    ):
        got, error = code_of(call)
        expect("the code", got, grpc.StatusCode.FAILED_PRECONDITION)
        expect("the message", error.details(), MESSAGE)
    echo(greeter, numbered(3))


def drain(greeter):
    """The server shuts down gracefully while a chat runs: it continues to its end, new calls are refused."""
    spoken = Spoken()
    chat = greeter.Chat(spoken, metadata=[("x-drain", "yes")], timeout=TIMEOUT_S)
    spoken.send("begun")
    expect("the reply", next(chat).reply, "Received: begun")
    code = grpc.StatusCode.OK
    while code == grpc.StatusCode.OK:
        code = status_of(lambda: greeter.SayHello(pb.MessageRequest(), timeout=TIMEOUT_S))
    expect("the code of new calls", code, grpc.StatusCode.UNAVAILABLE)
    for content in numbered(100):
        spoken.send(content)
        expect("the reply", next(chat).reply, f"Received: {content}")
    spoken.end()
    expect("the rest", list(chat), [])


def refused(greeter):
    code = status_of(lambda: greeter.SayHello(pb.MessageRequest(), timeout=TIMEOUT_S))
    expect("the code", code, grpc.StatusCode.UNAVAILABLE)


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


def failing(greeter, asked):
    """A call of each kind with this metadata; those that get messages do before they fail."""
    options = {"metadata": asked, "timeout": TIMEOUT_S}
    request = pb.SubscribeRequest(count=1, interval=AT_ONCE)
    return (
        lambda: greeter.SayHello(pb.MessageRequest(), **options),
        lambda: greeter.Collect(requests_of(["one"]), **options),
        lambda: list(greeter.Subscribe(request, **options)),
        lambda: list(greeter.Chat(requests_of(["one"]), **options)),
    )


def failures(greeter):
    """Each code with its message and its details, in every kind of call."""
    for code in grpc.StatusCode:
        number = code.value[0]
        if number == 0:
            continue
        for call in failing(greeter, [("x-fail", str(number))]):
            got, error = code_of(call)
            expect("the code", got, code)
            expect("the message", error.details(), MESSAGE)
            details = rpc_status.from_call(error).details
            info = error_details_pb2.ErrorInfo()
            assert details[0].Unpack(info) and info.reason == "ASKED", f"the first detail is {details[0]}"
            expect("the number of details", len(details), 2)


def metadata_of_errors(greeter):
    sent = [("x-trail", "three, four"), ("x-trail-bin", EVERY_BYTE), ("x-trail-bin", b"second")]
    for call in failing(greeter, [("x-fail", "10"), *sent]):
        _, error = code_of(call)
        trailing = [(n, v) for n, v in error.trailing_metadata() if n.startswith("x-")]
        expect("trailing", sorted(trailing), sorted(sent))


def large_status(greeter):
    """A status arrives with its code and its message every time, also where its details are over 8 KiB of trailers."""
    for size in ["1000", "9000", "20000"] * 20:
        asked = [("x-fail-bytes", size)]
        got, error = code_of(
            lambda: greeter.SayHello(pb.MessageRequest(), metadata=asked, timeout=TIMEOUT_S)
        )
        expect("the code", got, grpc.StatusCode.ABORTED)
        assert "failed at length" in error.details(), f"the message is {error.details()!r}"


def silence(greeter):
    silent_for(greeter, 2)


def long_silence(greeter):
    silent_for(greeter, 12.5)


def silent_for(greeter, seconds):
    """A chat in which nothing is sent for so long; whoever started this program looks at the pings."""
    spoken = Spoken()
    chat = greeter.Chat(spoken, timeout=TIMEOUT_S)
    for content in ("before", "after"):
        spoken.send(content)
        expect("the reply", next(chat).reply, f"Received: {content}")
        if content == "before":
            threading.Event().wait(seconds)
    spoken.end()
    expect("the rest", list(chat), [])


SCENARIOS = {
    "server ends first": server_ends_first,
    "server ends without reading": server_ends_at_once,
    "server ends while messages of 1 MiB are sent": ends_while_sending,
    "server fails while messages of 1 MiB are sent": fails_while_sending,
    "leading and trailing metadata, ascii and binary": metadata_echo,
    "trailing metadata of an error, ascii and binary": metadata_of_errors,
    "error with details, every code and kind": failures,
    "a status of 1, 9 and 20 kB arrives every time": large_status,
}

# They need a server of their own, or flags.
SPECIAL = {
    "graceful shutdown while a chat runs": drain,
    "refused without a client certificate": refused,
    "refused with a certificate of another CA": refused,
    "a chat that is silent for 2 s": silence,
    "a chat that is silent for 12.5 s": long_silence,
}
