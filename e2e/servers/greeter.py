"""A gRPC server with reflection that shares no code with testmesh.

    python3 greeter.py [--port PORT]

Prints `listening on 127.0.0.1:PORT` when it is ready, and serves until its standard input closes, so that it never
outlives the test that started it.
"""

import argparse
import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
from grpc_reflection.v1alpha import reflection

sys.path.insert(0, str(Path(__file__).parent))
messages, services = grpc.protos_and_services("greeter.proto")


class Greeter(services.GreeterServicer):
    """Answers politely, and refuses what makes no sense."""

    def Greet(self, request, context):
        if not request.name:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a greeting needs a name")
        return greeting(request.name, 0)

    def GreetMany(self, request, context):
        if request.count < 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "count is negative")
        for number in range(request.count):
            if number and request.every_ms > 0:
                time.sleep(request.every_ms / 1000)
            yield greeting(request.name, number)


def greeting(name, number):
    """One greeting; its text depends on nothing but name and number."""
    return messages.Greeting(text=f"Hello {name}, number {number}", number=number, sent_at_ms=time.time_ns() // 1_000_000)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
    services.add_GreeterServicer_to_server(Greeter(), server)
    names = [messages.DESCRIPTOR.services_by_name["Greeter"].full_name, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
    port = server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(grace=0).wait()


if __name__ == "__main__":
    main()
