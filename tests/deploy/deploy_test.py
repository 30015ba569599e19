#!/usr/bin/python3
"""What deploy/ ships works: example configurations load, the systemd unit is sandboxed and gets its
notifications, manifests name ports and paths that exist, and HAProxy routes by the class of work.
What the machine lacks (systemd-analyze, haproxy, python3-grpcio, PyYAML) is skipped, and said
so."""

import argparse
import glob
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
DEPLOY = os.path.join(ROOT, "deploy")
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.dont_write_bytecode = True
import baton_client  # noqa: E402

try:
    import yaml
except ImportError:
    yaml = None

SECONDS_MAX = 60
EXPOSURE_MAX = 3.0
ARGS = None  # the command line


def read(*path):
    with open(os.path.join(DEPLOY, *path), encoding="utf-8") as file:
        return file.read()


def need(found, what):
    if not found:
        print("SKIPPED: no " + what)
        raise unittest.SkipTest("no " + what)


def find_program(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


class ConfigurationTest(unittest.TestCase):
    def test_every_example_loads(self):
        examples = sorted(glob.glob(os.path.join(DEPLOY, "examples", "config", "*.yaml")))
        self.assertGreaterEqual(len(examples), 4)
        for path in examples + [os.path.join(DEPLOY, "debian", "batond.yaml")]:
            done = subprocess.run([ARGS.batond, "--config", path, "--print-config"],
                                  capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_one_that_is_wrong_does_not(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(read("examples", "config", "laptop.yaml") + "\nkitchen: {}\n")
            file.flush()
            done = subprocess.run([ARGS.batond, "--config", file.name, "--print-config"],
                                  capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("kitchen", done.stderr)


class SystemdTest(unittest.TestCase):
    def test_the_sandbox_is_tight(self):
        analyze = find_program("systemd-analyze")
        need(analyze, "systemd-analyze")
        done = subprocess.run(
            [analyze, "security", "--offline=true", "--no-pager",
             os.path.join(DEPLOY, "systemd", "batond.service")],
            capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        found = re.search(r"Overall exposure level for batond\.service: ([\d.]+)", done.stdout)
        self.assertTrue(found, done.stdout + done.stderr)
        print("exposure", found.group(1))
        self.assertLessEqual(float(found.group(1)), EXPOSURE_MAX)

    def test_the_unit_leaves_time_to_drain(self):
        stop = int(re.search(r"^TimeoutStopSec=(\d+)$", read("systemd", "batond.service"),
                             re.MULTILINE).group(1))
        self.assertGreater(stop, 30)  # server.drain_seconds_max

    def test_the_service_manager_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(path)
                manager.settimeout(SECONDS_MAX)
                environment = {**os.environ, "NOTIFY_SOCKET": path}
                process = subprocess.Popen(
                    [ARGS.batond, "--data-dir", os.path.join(folder, "data"),
                     "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0",
                     "--executors.gpu.enabled=off"],
                    env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    told = ""
                    while "READY=1" not in told:
                        told += manager.recv(4096).decode() + "\n"
                    for status in ("recovering the collections",
                                   "preparing the models and warming them up"):
                        self.assertIn("STATUS=starting: " + status, told)
                    process.terminate()
                    while "STOPPING=1" not in told:
                        told += manager.recv(4096).decode() + "\n"
                    self.assertEqual(process.wait(timeout=SECONDS_MAX), 0)
                finally:
                    process.kill()
                    process.wait()


class DebianTest(unittest.TestCase):
    def test_maintainer_scripts_are_shell(self):
        for name in ("postinst", "prerm", "postrm"):
            path = os.path.join(DEPLOY, "debian", name)
            self.assertTrue(os.access(path, os.X_OK), name)
            subprocess.run(["sh", "-n", path], check=True, timeout=SECONDS_MAX)


class ManifestTest(unittest.TestCase):
    def setUp(self):
        need(yaml, "PyYAML (python3-yaml)")

    def starts(self, config, tokens_path):
        """A daemon starts with it beyond the loopback, where its data and tokens are elsewhere."""
        with tempfile.TemporaryDirectory() as folder:
            tokens = os.path.join(folder, "tokens")
            with open(tokens, "w", encoding="utf-8") as file:
                file.write(f"web sha256:{'0' * 64} read\n")
            path = os.path.join(folder, "batond.yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(config.replace(tokens_path, tokens))
            ports = os.path.join(folder, "ports")
            with tempfile.TemporaryFile("w+") as log, subprocess.Popen(
                    [ARGS.batond, "--config", path, "--data-dir", os.path.join(folder, "data"),
                     "--grpc-address", "0.0.0.0:0", "--http-address", "0.0.0.0:0", "--port-file",
                     ports], stdout=log, stderr=log) as daemon:
                end = time.monotonic() + SECONDS_MAX
                while (not os.path.exists(ports) and daemon.poll() is None and
                       time.monotonic() < end):
                    time.sleep(0.05)
                started = os.path.exists(ports)
                daemon.terminate()
                daemon.wait(SECONDS_MAX)
                log.seek(0)
                self.assertTrue(started, log.read())

    def test_kubernetes(self):
        manifests = yaml.safe_load_all(read("kubernetes", "baton.yaml"))
        parts = {part["kind"]: part for part in manifests}
        pod = parts["StatefulSet"]["spec"]["template"]["spec"]
        container = pod["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        config = parts["ConfigMap"]["data"]["batond.yaml"]
        server = yaml.safe_load(config)["server"]
        self.starts(config, server["access"]["tokens"])
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {volume["name"] for volume in pod["volumes"] +
                   [claim["metadata"] for claim in parts["StatefulSet"]["spec"]
                    ["volumeClaimTemplates"]]}
        self.assertEqual(set(mounts), volumes)
        self.assertEqual(os.path.dirname(server["access"]["tokens"]), mounts["access"])
        self.assertTrue(yaml.safe_load(config)["vector"]["data_dir"].startswith(mounts["data"]))
        self.assertEqual(server["grpc_address"], f"0.0.0.0:{ports['grpc']}")
        self.assertEqual(server["http_address"], f"0.0.0.0:{ports['http']}")
        self.assertGreater(pod["terminationGracePeriodSeconds"], server["drain_seconds_max"])
        for probe, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"),
                            ("livenessProbe", "/livez")):
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "http"})

    def test_envoy_routes_to_clusters_that_exist(self):
        config = yaml.safe_load(read("envoy", "envoy.yaml"))["static_resources"]
        clusters = {cluster["name"] for cluster in config["clusters"]}
        manager = config["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        routes = manager["route_config"]["virtual_hosts"][0]["routes"]
        self.assertEqual({route["route"]["cluster"] for route in routes}, clusters)
        for cluster in config["clusters"]:
            self.assertEqual(cluster["load_assignment"]["cluster_name"], cluster["name"])
        # Both proxies name the methods that there are.
        protos = "".join(read(path) for path in
                         glob.glob(os.path.join(ROOT, "proto", "**", "*.proto"), recursive=True))
        for text in (read("envoy", "envoy.yaml"), read("haproxy", "haproxy.cfg")):
            for service, method in re.findall(r"/(?:baton\.v1|inference)\.(\w+)/(\w*)", text):
                self.assertIn(f"service {service} ", protos)
                self.assertRegex(protos, rf"rpc {method}")


class HaproxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        haproxy = find_program("haproxy")
        need(haproxy, "haproxy")
        need(baton_client.grpc, "python3-grpcio")
        cls.folder = tempfile.TemporaryDirectory(prefix="baton-haproxy-")
        cls.addClassCleanup(cls.folder.cleanup)
        baton_client.make_stubs(ARGS, cls.folder.name)
        off = ["--executors.gpu.enabled=off", "--executors.fpga.enabled=off"]
        model = os.path.join(DEPLOY, "demo", "model", "baton-reader.gguf")
        cls.gpu = baton_client.Daemon(ARGS.batond, ["--model=reader=" + model, *off])
        cls.addClassCleanup(cls.gpu.close)
        cls.store = baton_client.Daemon(ARGS.batond, off)
        cls.addClassCleanup(cls.store.close)
        cls.ports = [cls.free_port(), cls.free_port()]
        config = read("haproxy", "haproxy.cfg")
        for old, new in (("127.0.0.1:50050", f"127.0.0.1:{cls.ports[0]}"),
                         ("127.0.0.1:8000", f"127.0.0.1:{cls.ports[1]}"),
                         ("127.0.0.1:50051", cls.gpu.grpc_address),
                         ("127.0.0.1:50052", cls.store.grpc_address),
                         ("127.0.0.1:9464", f"127.0.0.1:{cls.gpu.http[1]}"),
                         ("port 9464", f"port {cls.gpu.http[1]}"),
                         ("port 9465", f"port {cls.store.http[1]}")):
            assert old in config, old
            config = config.replace(old, new)
        path = os.path.join(cls.folder.name, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(config)
        subprocess.run([haproxy, "-c", "-q", "-f", path], check=True, timeout=SECONDS_MAX)
        cls.process = subprocess.Popen([haproxy, "-q", "-db", "-f", path])
        cls.addClassCleanup(cls.process.wait)
        cls.addClassCleanup(cls.process.terminate)
        cls.channel = baton_client.grpc.insecure_channel(f"127.0.0.1:{cls.ports[0]}",
                                                         options=baton_client.CHANNEL_OPTIONS)
        cls.addClassCleanup(cls.channel.close)
        baton_client.grpc.channel_ready_future(cls.channel).result(SECONDS_MAX)

    @staticmethod
    def free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def answered(self, daemon, method):
        """How many of these RPCs a daemon has answered well."""
        connection = http.client.HTTPConnection(*daemon.http, timeout=SECONDS_MAX)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        series = f'baton_requests_total{{code="OK",method="{method}"}} '
        for line in text.splitlines():
            if line.startswith(series):
                return int(float(line[len(series):]))
        return 0

    def expect(self, method, at_gpu, at_store):
        # An RPC is counted just after its answer.
        end = time.monotonic() + SECONDS_MAX
        wanted = (at_gpu, at_store)
        while time.monotonic() < end:
            got = (self.answered(self.gpu, method), self.answered(self.store, method))
            if got == wanted:
                return
            time.sleep(0.02)
        self.assertEqual(got, wanted, method)

    def test_each_class_of_work_has_its_daemons(self):
        from baton.v1 import inference_pb2, inference_pb2_grpc
        from baton.v1 import vector_pb2, vector_pb2_grpc
        inference = inference_pb2_grpc.InferenceServiceStub(self.channel)
        vector = vector_pb2_grpc.VectorServiceStub(self.channel)
        list(inference.Generate(inference_pb2.GenerateRequest(text="The well", max_tokens=4),
                                timeout=SECONDS_MAX))
        self.expect("InferenceService/Generate", 1, 0)
        vector.ListCollections(vector_pb2.ListCollectionsRequest(), timeout=SECONDS_MAX)
        self.expect("VectorService/ListCollections", 0, 1)
        vector.ListCollections(vector_pb2.ListCollectionsRequest(), timeout=SECONDS_MAX,
                               metadata=[("baton-platform", "gpu")])
        self.expect("VectorService/ListCollections", 1, 1)

    def test_openais_api_streams_through(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[1], timeout=SECONDS_MAX)
        self.addCleanup(connection.close)
        connection.request("POST", "/v1/completions", json.dumps(
            {"prompt": "The well", "max_tokens": 4, "stream": True}),
            {"Content-Type": "application/json"})
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        self.assertTrue(response.read().endswith(b"data: [DONE]\n\n"))
        connection.request("GET", "/metrics")
        self.assertEqual(connection.getresponse().status, 404)


def main():
    global ARGS  # pylint: disable=global-statement
    parser = argparse.ArgumentParser(description=__doc__)
    baton_client.add_arguments(parser)
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
