"""The Greeter of test/interop/python, without the estimator of bandwidth that raises SETTINGS_MAX_FRAME_SIZE to 4 MiB."""

import pathlib
import runpy

import grpc

make = grpc.aio.server
grpc.aio.server = lambda options=(), **others: make(options=[*options, ("grpc.http2.bdp_probe", 0)], **others)
root = pathlib.Path(__file__).resolve().parents[4]
runpy.run_path(str(root / "test/interop/python/server.py"), run_name="__main__")
