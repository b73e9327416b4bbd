"""Runs named scenarios on grpcio against a Greeter server and prints a line each, "PASS name" or "FAIL name: reason".

It exits with 1 when one failed, and at once when its standard input ends.
"""

import argparse
import os
import sys
import threading

import grpc

import calls
import deadlines
import endings
import greeter_pb2_grpc as services
import sizes


def end_with_input():
    sys.stdin.buffer.read()
    os._exit(1)


parser = argparse.ArgumentParser()
parser.add_argument("-target", required=True, help="HOST:PORT")
for name in ("ca", "cert", "key"):
    parser.add_argument(f"-{name}", help="PEM file")
parser.add_argument("-ping", type=int, help="milliseconds between keepalive pings")
parser.add_argument("scenarios", nargs="*")
flags = parser.parse_args()
threading.Thread(target=end_with_input, daemon=True).start()

options = [("grpc.ssl_target_name_override", "localhost")]
if flags.ping is not None:
    options += [
        ("grpc.keepalive_time_ms", flags.ping),
        ("grpc.keepalive_timeout_ms", flags.ping),
        ("grpc.http2.max_pings_without_data", 0),
    ]
if flags.ca is None:
    channel = grpc.insecure_channel(flags.target, options)
else:
    read = lambda path: open(path, "rb").read() if path else None  # noqa: E731
    credentials = grpc.ssl_channel_credentials(read(flags.ca), read(flags.key), read(flags.cert))
    channel = grpc.secure_channel(flags.target, credentials, options)

usual = {
    **calls.SCENARIOS,
    **endings.SCENARIOS,
    **deadlines.SCENARIOS,
    **sizes.SCENARIOS,
    "unknown method and unknown service": lambda _: calls.unknown(channel),
}
special = endings.SPECIAL

failed = False
for name in flags.scenarios or usual:
    try:
        {**usual, **special}[name](services.GreeterStub(channel))
        print(f"PASS {name}", flush=True)
    except Exception as error:  # noqa: BLE001
        failed = True
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        print(f"FAIL {name}: {reason[:400]}", flush=True)
# Without waiting for the threads of a failed scenario.
sys.stdout.flush()
os._exit(1 if failed else 0)
