"""Makes the calls of a transcript (README.md in the folder above) on grpcio: client.py ADDRESS NAME..."""

import sys
import time

import grpc
from google.protobuf.duration_pb2 import Duration

import greeter_pb2 as pb
import greeter_pb2_grpc as services

TIMEOUT_S = 5


def messages(*contents):
    return iter([pb.MessageRequest(content=content) for content in contents])


def must_fail(call):
    try:
        call()
    except grpc.RpcError:
        return
    raise AssertionError("the call did not fail")


def cancel(greeter):
    push = greeter.Subscribe(pb.SubscribeRequest(interval=Duration(nanos=5_000_000)), timeout=TIMEOUT_S)
    next(push)
    push.cancel()
    must_fail(lambda: list(push))


CALLS = {
    "unary": lambda greeter: greeter.SayHello(
        pb.MessageRequest(content="Ada"), metadata=[("x-lead", "one")], timeout=TIMEOUT_S
    ),
    "push": lambda greeter: list(
        greeter.Subscribe(pb.SubscribeRequest(count=3, interval=Duration()), timeout=TIMEOUT_S)
    ),
    "collect": lambda greeter: greeter.Collect(messages("a", "bb", "ccc"), timeout=TIMEOUT_S),
    "chat": lambda greeter: list(greeter.Chat(messages("one", "two", ""), timeout=TIMEOUT_S)),
    "error": lambda greeter: must_fail(
        lambda: greeter.SayHello(
            pb.MessageRequest(content="Ada"), metadata=[("x-fail", "5")], timeout=TIMEOUT_S
        )
    ),
    "cancel": cancel,
    "gzip": lambda greeter: greeter.SayHello(
        pb.MessageRequest(content="compress me " * 100),
        compression=grpc.Compression.Gzip,
        timeout=TIMEOUT_S,
    ),
    "large": lambda greeter: greeter.SayHello(
        pb.MessageRequest(content="0123456789" * 10_000), timeout=TIMEOUT_S
    ),
    "pushes": lambda greeter: list(
        greeter.Subscribe(
            pb.SubscribeRequest(count=2000, interval=Duration()),
            metadata=[("x-bytes", "65536")],
            timeout=20,
        )
    ),
    "idle": lambda _: time.sleep(0.05),
}

_, address, *names = sys.argv
# Two grpcio exchange binary metadata without base64, as bytes that RFC 9113 forbids, unless one of them does not offer it.
options = [("grpc.http2.true_binary", 0)]
# With its estimator of bandwidth grpcio accepts frames of 4 MiB; other implementations, and ours, accept 16 KiB.
if "large" in names:
    options.append(("grpc.http2.bdp_probe", 0))
with grpc.insecure_channel(address, options=options) as channel:
    for name in names:
        CALLS[name](services.GreeterStub(channel))
