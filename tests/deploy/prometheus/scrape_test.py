#!/usr/bin/python3
"""A real Prometheus scrapes a real batond under load, and every query of the dashboards has an
answer. A query may have none only where a metric in it needs what this daemon lacks, by the column
"needs" of deploy/METRICS.md."""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

for program in ("prometheus", "promtool"):
    if not shutil.which(program):
        print(f"SKIPPED: no {program} (Debian package prometheus)")
        sys.exit(0)
try:
    import grpc
except ImportError:
    print("SKIPPED: no python3-grpcio for " + sys.executable)
    sys.exit(0)

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "support")]
import baton_client  # noqa: E402
import metric_names  # noqa: E402

ARGS = None
# The daemon of this test has a model, and devices that are simulated.
LACKS = {"telemetry", "fpga", "peer", "offload", "tls", "incident"}
SCRAPE_SECONDS = 1
RATE = "15s"
DATA_SECONDS_MAX = 90
SCRAPE_MS_MAX = 5
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url):
    with NO_PROXY.open(url, timeout=10) as answer:
        return answer.read().decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    def __init__(self, target):
        self.folder = tempfile.TemporaryDirectory(prefix="baton-prometheus-")
        config = os.path.join(self.folder.name, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"global: {{scrape_interval: {SCRAPE_SECONDS}s, evaluation_interval: 1s}}\n"
                       f"rule_files: [{ROOT}/deploy/prometheus/recording_rules.yml, "
                       f"{ROOT}/deploy/prometheus/alert_rules.yml]\n"
                       "scrape_configs:\n- job_name: baton\n"
                       f"  static_configs: [{{targets: ['{target}']}}]\n")
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = open(os.path.join(self.folder.name, "log"), "wb")
        self.process = subprocess.Popen(
            ["prometheus", "--config.file=" + config,
             "--storage.tsdb.path=" + os.path.join(self.folder.name, "data"),
             "--web.listen-address=" + self.url.removeprefix("http://")],
            stdout=self.log, stderr=self.log)

    def query(self, expression):
        """[(labels, value)]; raises where Prometheus refuses the query."""
        answer = json.loads(get(self.url + "/api/v1/query?" +
                                urllib.parse.urlencode({"query": expression})))
        return [(result["metric"], float(result["value"][1]))
                for result in answer["data"]["result"]]

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()


def dashboard_queries():
    """[(panel, expression for this Prometheus)]"""
    with open(ROOT + "/deploy/grafana/baton.json", encoding="utf-8") as file:
        dashboard = json.load(file)
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", RATE)
            yield panel["title"], expression.replace("$job", "baton").replace("$instance", ".*")


class Load:
    """Everything that a dashboard shows, over and over, until stopped."""

    def __init__(self, daemon, stubs):
        self.stubs = stubs
        self.channel = daemon.channel
        self.errors = []
        self.rounds = 0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(work,))
                        for work in (self.ask, self.generate, self.write, self.search)]
        rag_pb2, rag = stubs["rag"]
        self.rag = rag.RagServiceStub(self.channel)
        self.rag_pb2 = rag_pb2
        vector_pb2, vector = stubs["vector"]
        self.vector_pb2 = vector_pb2
        self.vectors = vector.VectorServiceStub(self.channel)
        inference_pb2, inference = stubs["inference"]
        self.inference_pb2 = inference_pb2
        self.inference = inference.InferenceServiceStub(self.channel)
        texts = [f"The lamp number {i} of the harbour burns {i * 3} litres of oil." for i in
                 range(40)]
        self.rag.Ingest(rag_pb2.IngestRequest(
            collection="docs",
            documents=[rag_pb2.Document(id=f"lamp{i}", text=text)
                       for i, text in enumerate(texts)]), timeout=60)
        self.vectors.CreateCollection(vector_pb2.CreateCollectionRequest(
            spec=vector_pb2.CollectionSpec(name="points", dimension=8)), timeout=60)
        for thread in self.threads:
            thread.start()

    def run(self, work):
        while not self.stop.is_set():
            try:
                work()
                self.rounds += 1
            except grpc.RpcError as error:
                self.errors.append(f"{work.__name__}: {error.code()} {error.details()}")
                time.sleep(0.2)

    def ask(self):
        for _ in self.rag.Ask(self.rag_pb2.AskRequest(
                collection="docs", question=f"How much oil burns lamp {random.randrange(40)}?",
                max_tokens=12), timeout=60):
            pass

    def generate(self):
        request = self.inference_pb2.GenerateRequest(
            text="The harbour master writes in his book: ", max_tokens=12, ignore_eos=True)
        for _ in self.inference.Generate(request, timeout=60):
            pass

    def write(self):
        self.vectors.Upsert(self.vector_pb2.UpsertRequest(collection="points", points=[
            self.vector_pb2.Point(id=random.randrange(10**6),
                                  vector=[random.gauss(0, 1) for _ in range(8)])
            for _ in range(40)]), timeout=60)
        time.sleep(0.02)

    def search(self):
        self.vectors.Search(self.vector_pb2.SearchRequest(
            collection="points", vector=[random.gauss(0, 1) for _ in range(8)],
            params=self.vector_pb2.SearchParams(k=5)), timeout=60)
        time.sleep(0.02)

    def close(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


class ScrapeTest(unittest.TestCase):
    def test_every_dashboard_query_has_data(self):
        rows = metric_names.table(ROOT)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="baton-stubs-"))
            baton_client.make_stubs(ARGS, folder)
            from baton.v1 import (inference_pb2, inference_pb2_grpc, rag_pb2, rag_pb2_grpc,
                                  vector_pb2, vector_pb2_grpc)
            daemon = baton_client.Daemon(ARGS.batond, [
                f"--model={ROOT}/deploy/demo/model/baton-reader.gguf",
                f"--simulate={ROOT}/deploy/examples/simulate/node.yaml",
                "--vector.seal_points=64"])
            stack.callback(daemon.close)
            load = Load(daemon, {"rag": (rag_pb2, rag_pb2_grpc),
                                 "vector": (vector_pb2, vector_pb2_grpc),
                                 "inference": (inference_pb2, inference_pb2_grpc)})
            stack.callback(load.close)
            http = daemon.wait_for_ports()["http"]
            prometheus = Prometheus(http)
            stack.callback(prometheus.close)

            missing = self.wait_for_data(prometheus, rows)
            self.assertEqual(load.errors, [])
            self.assertGreater(load.rounds, 20)
            self.assertEqual(missing, [])

            with self.subTest("the exposition is clean"):
                text = get(f"http://{http}/metrics")
                check = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                                       capture_output=True, check=False)
                self.assertEqual((check.returncode, check.stdout + check.stderr), (0, ""))
                told = {line.split()[2] for line in text.split("\n") if line.startswith("# TYPE")}
                self.assertLessEqual(told, set(rows))
            with self.subTest("a scrape is quick, also under load"):
                times = []
                for _ in range(40):
                    begin = time.perf_counter()
                    get(f"http://{http}/metrics")
                    times.append((time.perf_counter() - begin) * 1e3)
                print(f"scrape of {len(text)} bytes: {sorted(times)[0]:.2f} ms at best, "
                      f"{sorted(times)[20]:.2f} ms in the middle")
                self.assertLess(min(times), SCRAPE_MS_MAX)
            with self.subTest("no alert fires and no rule fails"):
                rules = json.loads(get(prometheus.url + "/api/v1/rules"))["data"]["groups"]
                states = {rule["name"]: rule["health"] for group in rules
                          for rule in group["rules"]}
                self.assertGreater(len(states), 30)
                self.assertEqual({name for name, health in states.items() if health == "err"},
                                 set())
                self.assertEqual(prometheus.query('ALERTS{alertstate="firing"}'), [])

    def wait_for_data(self, prometheus, rows):
        """What has no data in the end, less what may have none."""
        end = time.monotonic() + DATA_SECONDS_MAX
        while True:
            time.sleep(2)
            missing = []
            excused = 0
            try:
                for panel, expression in dashboard_queries():
                    values = [value for _, value in prometheus.query(expression)
                              if not math.isnan(value)]
                    if values:
                        continue
                    needs = {rows[metric_names.resolve(rows, series)]["needs"]
                             for series, _ in metric_names.series_of(expression)}
                    if needs & LACKS:
                        excused += 1
                    else:
                        missing.append(f"{panel}: {expression}")
            except urllib.error.HTTPError as error:
                raise AssertionError(f"{expression}: {error.read().decode()}") from error
            except OSError as error:  # it starts
                missing = [str(error)]
            if not missing or time.monotonic() > end:
                print(f"{len(list(dashboard_queries()))} queries, {excused} without data by rule")
                return missing


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    baton_client.add_arguments(parser)
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=1)
