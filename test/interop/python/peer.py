"""What the scenarios of client.py have in common."""

import threading

import grpc
from google.protobuf.duration_pb2 import Duration

import greeter_pb2 as pb

TIMEOUT_S = 20
EVERY_BYTE = bytes(range(256))
AT_ONCE = Duration()


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

def status_of(call):
    return code_of(call)[0]


def ask(greeter, held):
    """How the server says that the call that it held under this id ended."""
    return greeter.SayHello(pb.MessageRequest(), metadata=[("x-ask", held)], timeout=TIMEOUT_S).reply


class Spoken:
    """Requests that are sent when told to."""

    def __init__(self):
        self._ready = threading.Condition()
        self._contents = []
        self._ended = False

    def send(self, content):
        with self._ready:
            self._contents.append(content)
            self._ready.notify()

    def end(self):
        with self._ready:
            self._ended = True
            self._ready.notify()

    def __iter__(self):
        return self

    def __next__(self):
        with self._ready:
            while not self._contents and not self._ended:
                self._ready.wait()
            if not self._contents:
                raise StopIteration
            return pb.MessageRequest(content=self._contents.pop(0))
