"""A batond of one's own for tests and benchmarks in Python, and its API from nothing but the .proto
files. gRPC needs python3-grpcio and python3-protobuf, and stubs that are made at run time; HTTP
needs neither."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

try:
    import grpc
except ImportError:
    grpc = None  # for tests over HTTP alone

READY_SECONDS_MAX = 30
CHANNEL_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]


def add_arguments(parser):
    """The flags that say where the programs are; CMake fills them in."""
    for flag in ("--batond", "--protos", "--protoc", "--grpc-plugin"):
        parser.add_argument(flag, required=True)


def make_stubs(args, out, more=()):
    """Generates Python modules for all protos into `out` and makes them importable. `more`: (name,
    text) of protos that Baton does not ship."""
    for name, text in more:
        with open(os.path.join(out, name + ".proto"), "w", encoding="utf-8") as file:
            file.write(text)
    protos = [folder + "/" + name for folder in ("baton/v1", "inference")
              for name in sorted(os.listdir(os.path.join(args.protos, folder)))
              if name.endswith(".proto")]
    subprocess.run(
        [args.protoc, "-I", args.protos, "-I", out, "--python_out=" + out, "--grpc_out=" + out,
         "--plugin=protoc-gen-grpc=" + args.grpc_plugin, *protos,
         *(name + ".proto" for name, _ in more)],
        check=True)
    sys.path.insert(0, out)


class Daemon:
    """A batond of its own on free ports, killed by close(). `http` is (host, port); `channel` is
    connected to it, with TLS where there are credentials, if there is gRPC for Python."""

    def __init__(self, batond, flags=(), credentials=None):
        self.folder = tempfile.TemporaryDirectory(prefix="baton-python-")
        self.log_path = os.path.join(self.folder.name, "log")
        self.port_file = os.path.join(self.folder.name, "ports")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [batond, "--data-dir", os.path.join(self.folder.name, "data"),
                 "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0",
                 "--port-file", self.port_file, *flags],
                stdout=log, stderr=log)
        try:
            ports = self.wait_for_ports()
            self.grpc_address = ports["grpc"]
            host, port = ports["http"].rsplit(":", 1)
            self.http = (host, int(port))
            self.channel = None
            if grpc is not None:
                self.channel = self.connect(credentials)
                grpc.channel_ready_future(self.channel).result(READY_SECONDS_MAX)
        except BaseException:
            self.kill()
            raise

    def connect(self, credentials=None, options=()):
        """Another channel to it, with a connection of its own."""
        options = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1), *options]
        if credentials is None:
            return grpc.insecure_channel(self.grpc_address, options=options)
        return grpc.secure_channel(self.grpc_address, credentials, options=options)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def http_get(self, path):
        """(status, text)"""
        address = self.wait_for_ports()["http"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_for_ports(self):
        end = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < end and self.process.poll() is None:
            if os.path.exists(self.port_file):
                with open(self.port_file, encoding="utf-8") as file:
                    return dict(line.strip().split("=", 1) for line in file)
            time.sleep(0.01)
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            raise AssertionError("batond is not ready; its log:\n" + log.read())

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def close(self):
        if self.channel is not None:
            self.channel.close()
        self.kill()
        self.folder.cleanup()
