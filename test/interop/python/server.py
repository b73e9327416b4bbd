"""The classic Greeter server on grpcio: an echo, with the switches that README.md in the folder above lists.

It prints "listening ADDRESS" when it is up, and ends when its standard input does, so that it never outlives the
program that started it.
"""

import argparse
import asyncio
import os
import sys
import threading
from contextlib import contextmanager

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

import greeter_pb2 as pb
import greeter_pb2_grpc as services


class Outcomes:
    """How the calls with x-hold ended, until x-ask asks."""

    def __init__(self) -> None:
        self._of: dict[str, asyncio.Future[str]] = {}

    def of(self, name: str) -> "asyncio.Future[str]":
        if name not in self._of:
            self._of[name] = asyncio.get_running_loop().create_future()
        return self._of[name]

    def put(self, name: str, outcome: str) -> None:
        if not self.of(name).done():
            self.of(name).set_result(outcome)


def switches(context: grpc.aio.ServicerContext) -> dict[str, str]:
    """Reads the switches of a call, and sets the trailing metadata that they ask for."""
    given = context.invocation_metadata() or ()
    trailing = [(name, value) for name, value in given if name.startswith("x-trail")]
    names = {name: value for name, value in given if isinstance(value, str)}
    if "x-names" in names:
        trailing.append(("x-names", ",".join(sorted({name for name, _ in given}))))
    context.set_trailing_metadata(tuple(trailing))
    return names


async def wait_if_asked(asked: dict[str, str]) -> None:
    """Begins to read requests as much later as x-wait asks."""
    if "x-wait" in asked:
        await asyncio.sleep(int(asked["x-wait"]) / 1000)


async def lead(context: grpc.aio.ServicerContext) -> None:
    """Sends the response headers, with the metadata to echo, and compresses the responses as x-gzip asks."""
    given = context.invocation_metadata() or ()
    if any(name == "x-gzip" for name, _ in given):
        context.set_compression(grpc.Compression.Gzip)
    await context.send_initial_metadata(
        tuple((name, value) for name, value in given if name.startswith("x-lead"))
    )


async def fail_if_asked(asked: dict[str, str], context: grpc.aio.ServicerContext) -> None:
    if "x-fail" not in asked:
        return
    first, second = Any(), Any()
    first.Pack(error_details_pb2.ErrorInfo(reason="ASKED", domain="example"))
    second.Pack(pb.MessageResponse(reply="a detail"))
    failed = rpc_status.to_status(
        status_pb2.Status(
            code=int(asked["x-fail"]),
            message="failed as asked: 100% ünïcode ☂",
            details=[first, second],
        )
    )
    # The metadata to echo has to leave with the details: a later set would replace it.
    trailing = tuple(context.trailing_metadata() or ()) + tuple(failed.trailing_metadata)
    await context.abort(failed.code, failed.details, trailing)


class Greeter(services.GreeterServicer):
    def __init__(self, drain) -> None:
        self.calls = Outcomes()
        self.drain = drain

    @contextmanager
    def held(self, asked: dict[str, str], context: grpc.aio.ServicerContext):
        """Notes how a call with x-hold ended, when its handler does."""
        outcome = "open"
        try:
            yield
        except BaseException:
            left = context.time_remaining()
            outcome = "deadline" if left is not None and left <= 0 else "canceled"
            raise
        finally:
            if "x-hold" in asked:
                self.calls.put(asked["x-hold"], outcome)

    async def SayHello(self, request, context):
        asked = switches(context)
        await lead(context)
        await fail_if_asked(asked, context)
        if "x-hold" in asked:
            self.calls.put(asked["x-hold"] + " begun", "yes")
            with self.held(asked, context):
                await asyncio.Event().wait()
        if "x-ask" in asked:
            return pb.MessageResponse(reply=await self.calls.of(asked["x-ask"]))
        if "x-peer" in asked:
            return pb.MessageResponse(reply=context.peer())
        if "x-deadline" in asked:
            left = context.time_remaining()
            return pb.MessageResponse(reply="none" if left is None else str(int(left * 1000)))
        return pb.MessageResponse(reply=f"Hello, {request.content}")

    async def Chat(self, requests, context):
        asked = switches(context)
        # They leave now, or before the first reply.
        led = "x-headers-first" in asked
        if led:
            await lead(context)
        if "x-drain" in asked:
            self.drain()
        await wait_if_asked(asked)
        end_after = int(asked.get("x-end-after", -1))
        late = []
        count = 0
        with self.held(asked, context):
            while count != end_after:
                request = await context.read()
                if request is grpc.aio.EOF:
                    # It also comes where the call was cancelled, before the handler is.
                    if "x-hold" in asked:
                        await asyncio.Event().wait()
                    break
                if not led:
                    await lead(context)
                    led = True
                reply = pb.MessageResponse(reply=f"Received: {request.content}")
                count += 1
                if "x-late" in asked:
                    late.append(reply)
                    continue
                await context.write(reply)
                await fail_if_asked(asked, context)
            for reply in late:
                await context.write(reply)

    async def Collect(self, requests, context):
        asked = switches(context)
        await lead(context)
        await fail_if_asked(asked, context)
        await wait_if_asked(asked)
        if "x-hold" in asked:
            self.calls.put(asked["x-hold"] + " begun", "yes")
        total = pb.CollectResponse()
        with self.held(asked, context):
            async for request in requests:
                total.count += 1
                total.bytes += len(request.content.encode())
            if "x-hold" in asked:
                await asyncio.Event().wait()
        return total

    async def Subscribe(self, request, context):
        asked = switches(context)
        await lead(context)
        pause = request.interval.ToTimedelta().total_seconds() if request.HasField("interval") else 1.0
        content = "x" * int(asked["x-bytes"]) if "x-bytes" in asked else "notification"
        sequence = 0
        with self.held(asked, context):
            while request.count == 0 or sequence < request.count:
                if pause > 0:
                    await asyncio.sleep(pause)
                sequence += 1
                now = Timestamp()
                now.GetCurrentTime()
                await context.write(pb.Notification(sequence=sequence, content=content, time=now))
            await fail_if_asked(asked, context)


def end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


# Flags in milliseconds, and the option of grpcio that each sets.
TIMES = {
    "max-age": "grpc.max_connection_age_ms",
    "min-ping": "grpc.http2.min_ping_interval_without_data_ms",
    "ping": "grpc.keepalive_time_ms",
}


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("cert", "key", "client-ca"):
        parser.add_argument(f"-{name}", help="PEM file")
    for name, option in TIMES.items():
        parser.add_argument(f"-{name}", dest=option, type=int, help=f"sets {option}")
    parser.add_argument("-max-streams", dest="grpc.max_concurrent_streams", type=int)
    flags = parser.parse_args()
    options = [(name, value) for name, value in vars(flags).items() if name.startswith("grpc.") and value]
    # By default it refuses some calls at random while more than 1,000 wait for their handlers.
    options += [("grpc.server.max_pending_requests", 10_000), ("grpc.server.max_pending_requests_hard_limit", 10_000)]
    server = grpc.aio.server(options=options)
    drained = []
    # Ends when its final call has.
    drain = lambda: drained.append(asyncio.create_task(server.stop(60)))  # noqa: E731
    services.add_GreeterServicer_to_server(Greeter(drain), server)
    if flags.cert is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        read = lambda path: open(path, "rb").read()  # noqa: E731
        credentials = grpc.ssl_server_credentials(
            [(read(flags.key), read(flags.cert))],
            root_certificates=read(flags.client_ca) if flags.client_ca else None,
            require_client_auth=flags.client_ca is not None,
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(f"listening 127.0.0.1:{port}", flush=True)
    threading.Thread(target=end_with_input, daemon=True).start()
    await server.wait_for_termination()


asyncio.run(main())
# The thread that waits for the end of the input must not keep the process.
os._exit(0)
