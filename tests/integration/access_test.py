#!/usr/bin/python3
"""Who may do what: tokens against every RPC, limits, TLS and mTLS, files that are replaced under
load. What is refused is refused precisely, and others do not notice."""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

try:
    import grpc
except ImportError:
    print("SKIPPED: no python3-grpcio for " + sys.executable)
    sys.exit(0)

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import baton_client  # noqa: E402
import certificates  # noqa: E402
from python_client_test import REFLECTION_PROTO  # noqa: E402

ARGS = None
SCOPES = ("read", "write", "generate", "admin")
NEEDS = {  # by service, and where a method differs
    "InferenceService": "generate", "VectorService": "read", "RagService": "write",
    "AdminService": "admin", "GRPCInferenceService": "",
}
WRITES = {"CreateCollection", "DropCollection", "Upsert", "UpsertStream", "Delete", "PatchPayload",
          "CreatePayloadIndex", "DropPayloadIndex", "UpdateAliases"}
DIFFERENT = {"InferenceService/ListModels": "", "RagService/Ask": "read,generate",
             "GRPCInferenceService/ModelInfer": "generate",
             "GRPCInferenceService/ModelStreamInfer": "generate",
             "AdminService/Devices": "read", "AdminService/Explain": "read"}
BUILT_IN = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
WAIT_SECONDS_MAX = 20
PROTOCOL = {}  # what make_stubs made


def needs(method):
    service, name = method.split("/")
    if method in DIFFERENT:
        return set(filter(None, DIFFERENT[method].split(",")))
    return {"write"} if name in WRITES else set(filter(None, [NEEDS[service]]))


def methods():
    """[(full name, "Service/Method", request class, client streams, server streams)]"""
    for module in PROTOCOL["protos"]:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                request = getattr(sys.modules[method.input_type.file.name.replace("/", ".")
                                              .replace(".proto", "_pb2")], method.input_type.name)
                yield service.full_name, method.name, request


def call(channel, service, method, request, token=None, timeout=30):
    """(code, details, trailing metadata). All kinds of RPC are the same bytes to a client."""
    metadata = [("authorization", "Bearer " + token)] if token else []
    stub = channel.stream_stream(f"/{service}/{method}",
                                 request_serializer=lambda message: message.SerializeToString(),
                                 response_deserializer=lambda data: data)
    answer = stub(iter([request]), metadata=metadata, timeout=timeout)
    try:
        for _ in answer:
            pass
        return grpc.StatusCode.OK, "", answer.trailing_metadata()
    except grpc.RpcError as error:
        return error.code(), error.details(), error.trailing_metadata()


def list_collections(channel, token=None, timeout=10):
    vector_pb2 = PROTOCOL["vector"]
    return call(channel, "baton.v1.VectorService", "ListCollections",
                vector_pb2.ListCollectionsRequest(), token, timeout)


def make_token(path, name, scopes, *flags):
    """Adds a token to a file and returns it, as an operator does."""
    command = [ARGS.batonctl, "token", name, "--scopes", scopes, "--file", path, *flags]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def wait_until(condition):
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def credentials(ca, pair=None):
    def read(path):
        with open(path, "rb") as file:
            return file.read()
    if pair is None:
        return grpc.ssl_channel_credentials(read(ca))
    return grpc.ssl_channel_credentials(read(ca), read(pair[1]), read(pair[0]))


class AccessTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.folder = cls.stack.enter_context(tempfile.TemporaryDirectory(prefix="baton-access-"))
        stubs = os.path.join(cls.folder, "stubs")
        os.mkdir(stubs)
        baton_client.make_stubs(ARGS, stubs, [("baton_test_reflection", REFLECTION_PROTO)])
        from baton.v1 import admin_pb2, inference_pb2, rag_pb2, vector_pb2
        from inference import kserve_v2_pb2
        import baton_test_reflection_pb2 as reflection_pb2
        import baton_test_reflection_pb2_grpc as reflection_grpc
        PROTOCOL.update(protos=[admin_pb2, inference_pb2, rag_pb2, vector_pb2,
                                kserve_v2_pb2], vector=vector_pb2,
                        reflection=reflection_pb2, reflection_grpc=reflection_grpc)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def setUp(self):
        self.dir = tempfile.mkdtemp(dir=self.folder)
        self.tokens = os.path.join(self.dir, "tokens")

    def daemon(self, *flags, credentials=None):
        daemon = baton_client.Daemon(ARGS.batond, flags, credentials)
        self.addCleanup(daemon.close)
        return daemon

    def metric(self, daemon, series):
        for line in daemon.http_get("/metrics")[1].split("\n"):
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0

    def refusal(self, *flags):
        """How batond says that it will not start so."""
        run = subprocess.run(
            [ARGS.batond, "--data-dir", os.path.join(self.dir, "data"), "--grpc-address",
             "127.0.0.1:0", "--http-address", "127.0.0.1:0", *flags],
            capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(run.returncode, 1, run.stderr)
        return run.stderr

    # ---- tokens

    def test_every_rpc_asks_for_its_scopes(self):
        tokens = {scope: make_token(self.tokens, scope, scope) for scope in SCOPES}
        tokens["read,generate"] = make_token(self.tokens, "both", "read,generate")
        daemon = self.daemon("--server.access.tokens", self.tokens)
        served = set()
        reflection = PROTOCOL["reflection_grpc"].ServerReflectionStub(daemon.channel)
        request = PROTOCOL["reflection"].ServerReflectionRequest(list_services="")
        for answer in reflection.ServerReflectionInfo(iter([request])):
            served |= {service.name for service in answer.list_services_response.service}
        known = {service for service, _, _ in methods()}
        self.assertEqual(served, known | BUILT_IN)  # nothing is served that is not tried here

        count = 0
        for service, name, request_class in methods():
            method = service.rsplit(".", 1)[1] + "/" + name
            code, details, _ = call(daemon.channel, service, name, request_class())
            self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED, method)
            self.assertIn("authorization: Bearer TOKEN", details)
            code, details, _ = call(daemon.channel, service, name, request_class(), "s3cret")
            self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED, method)
            self.assertNotIn("s3cret", details)
            for scopes, token in tokens.items():
                lacking = needs(method) - set(scopes.split(","))
                code, details, _ = call(daemon.channel, service, name, request_class(), token)
                with self.subTest(method=method, scopes=scopes):
                    if lacking:
                        self.assertEqual(code, grpc.StatusCode.PERMISSION_DENIED)
                        missing = ",".join(sorted(lacking, key=SCOPES.index))
                        self.assertIn(f"lacks the scope {missing}, which "
                                      f"{method} needs", details)
                    else:
                        self.assertNotIn(code, (grpc.StatusCode.UNAUTHENTICATED,
                                                grpc.StatusCode.PERMISSION_DENIED), details)
                count += 1
        self.assertGreaterEqual(count, 39 * 5)
        # Whoever watches the daemon needs no token.
        self.assertEqual(daemon.http_get("/readyz")[0], 200)
        self.assertGreater(self.metric(
            daemon, 'baton_access_refused_total{reason="scope"}'), 50)
        told = daemon.http_get("/metrics")[1] + daemon.log()
        for secret in [*tokens.values(), "s3cret"]:
            self.assertNotIn(secret, told)

    def test_limits_are_told_with_when_to_come_again(self):
        slow = make_token(self.tokens, "slow", "read", "--rate", "2", "--burst", "3")
        free = make_token(self.tokens, "free", "read")
        gone = make_token(self.tokens, "gone", "read", "--expires", "2020-01-01T00:00:00Z")
        daemon = self.daemon("--server.access.tokens", self.tokens)
        answers = [list_collections(daemon.channel, slow) for _ in range(8)]
        refused = [answer for answer in answers if answer[0] != grpc.StatusCode.OK]
        self.assertGreaterEqual(len(refused), 3)
        for code, details, trailing in refused:
            self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn('"slow" may send 2 requests a second; retry in', details)
            hint = int(dict(trailing)["baton-retry-after-ms"])
            self.assertTrue(1 <= hint <= 500, hint)
        self.assertEqual(list_collections(daemon.channel, free)[0], grpc.StatusCode.OK)
        time.sleep(int(dict(refused[-1][2])["baton-retry-after-ms"]) / 1e3)
        self.assertEqual(list_collections(daemon.channel, slow)[0], grpc.StatusCode.OK)
        code, details, _ = list_collections(daemon.channel, gone)
        self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED)
        self.assertIn('"gone" expired at 2020-01-01T00:00:00Z', details)

    def test_one_of_a_time_is_one_after_the_other(self):
        token = make_token(self.tokens, "single", "read", "--concurrency", "1")
        daemon = self.daemon("--server.access.tokens", self.tokens)
        # A place is free as soon as the answer is there.
        for _ in range(200):
            self.assertEqual(list_collections(daemon.channel, token)[0], grpc.StatusCode.OK)

    def test_streams_that_go_on_hold_their_place(self):
        token = make_token(self.tokens, "single", "write", "--concurrency", "1")
        daemon = self.daemon("--server.access.tokens", self.tokens)
        open_stream = threading.Event()
        end_stream = threading.Event()
        vector_pb2 = PROTOCOL["vector"]

        def requests():
            open_stream.set()
            end_stream.wait(WAIT_SECONDS_MAX)
            return
            yield  # a generator

        stub = daemon.channel.stream_stream(
            "/baton.v1.VectorService/UpsertStream",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=lambda data: data)
        metadata = [("authorization", "Bearer " + token)]
        stream = stub(requests(), metadata=metadata, timeout=60)
        open_stream.wait(WAIT_SECONDS_MAX)

        def delete():
            return call(daemon.channel, "baton.v1.VectorService", "Delete",
                        vector_pb2.DeleteRequest(), token)
        self.assertTrue(wait_until(lambda: delete()[0] == grpc.StatusCode.RESOURCE_EXHAUSTED))
        code, details, trailing = delete()
        self.assertIn("may have 1 requests running; retry in 50 ms", details)
        self.assertEqual(dict(trailing)["baton-retry-after-ms"], "50")
        end_stream.set()
        for _ in stream:
            pass
        self.assertTrue(wait_until(lambda: delete()[0] == grpc.StatusCode.INVALID_ARGUMENT))

    def test_a_flood_of_headers_is_refused_and_others_go_on(self):
        daemon = self.daemon()
        stub = daemon.connect().unary_unary(
            "/baton.v1.VectorService/ListCollections",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=lambda data: data)
        request = PROTOCOL["vector"].ListCollectionsRequest()
        refusals = {grpc.StatusCode.RESOURCE_EXHAUSTED}
        for metadata, codes in (
                ([("x-flood", "y" * 20_000)], refusals),
                ([(f"x-flood-{i}", "y" * 100) for i in range(100)], refusals),
                # Of such a one gRPC also closes the connection.
                ([("x-flood", "y" * 1_000_000)], refusals | {grpc.StatusCode.UNAVAILABLE}),
                ([(f"x-flood-{i}", "y" * 100) for i in range(5000)],
                 refusals | {grpc.StatusCode.UNAVAILABLE})):
            with self.assertRaises(grpc.RpcError) as refused:
                stub(request, metadata=metadata, timeout=30)
            self.assertIn(refused.exception.code(), codes)
            if codes == refusals:
                self.assertRegex(refused.exception.details(), "(?i)metadata size exceeds limit")
            # Others do not notice.
            self.assertEqual(list_collections(daemon.channel)[0], grpc.StatusCode.OK)
        self.assertEqual(self.metric(daemon, 'baton_requests_total{code="OK",'
                                     'method="VectorService/ListCollections"}'), 4)

    def test_bad_files_of_tokens_keep_it_from_starting(self):
        self.assertIn("server.access.tokens: cannot read", self.refusal(
            "--server.access.tokens", self.tokens))
        with open(self.tokens, "w", encoding="utf-8") as file:
            file.write("# none\n\nme s3cret read\n")
        error = self.refusal("--server.access.tokens", self.tokens)
        self.assertIn(f"server.access.tokens: {self.tokens}:3: the second field must be", error)
        self.assertNotIn("s3cret", error)

    # ---- where it listens

    def test_beyond_the_loopback_only_where_somebody_says_who(self):
        for port in ("grpc", "http"):
            error = self.refusal(f"--{port}-address", "0.0.0.0:0")
            self.assertIn(f"server.{port}_address is 0.0.0.0:0, but nothing says who may use it",
                          error)
        for flags, warning in (
                (["--server.access.open=true"], "whoever reaches 0.0.0.0:0 may read"),
                (["--server.access.tokens", self.tokens], "tokens can be read on their way")):
            make_token(self.tokens, "a" + str(len(flags)), "read")
            # The port file says 0.0.0.0, which is this machine to a client on it.
            daemon = self.daemon("--grpc-address", "0.0.0.0:0", *flags)
            self.assertIn(warning, daemon.log())

    # ---- TLS

    def authority(self, name="baton"):
        if not shutil.which("openssl"):
            print("SKIPPED: no openssl program")
            self.skipTest("no openssl")
        return certificates.Authority(self.dir, name)

    def tls_flags(self, pair, client_ca=None):
        flags = ["--server.tls.certificate", pair[0], "--server.tls.key", pair[1],
                 "--server.tls.http=false"]
        return flags + (["--server.tls.client_ca", client_ca] if client_ca else [])

    def unreachable(self, daemon, creds, why):
        with self.subTest(why):
            channel = daemon.connect(creds)
            code, _, _ = list_collections(channel, timeout=5)
            self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
            channel.close()

    def test_mutual_tls_lets_in_whom_its_authority_knows(self):
        authority = self.authority()
        other = self.authority("other")
        good = credentials(authority.ca, authority.issue("client"))
        daemon = self.daemon(*self.tls_flags(authority.issue("server"), authority.ca),
                             credentials=good)
        self.assertEqual(list_collections(daemon.channel)[0], grpc.StatusCode.OK)
        self.unreachable(daemon, credentials(authority.ca), "no certificate")
        self.unreachable(daemon, credentials(authority.ca, other.issue("stranger")),
                         "another authority's")
        self.unreachable(daemon, credentials(authority.ca, authority.issue("late", expired=True)),
                         "an expired one")
        self.unreachable(daemon, credentials(other.ca, authority.issue("client2")),
                         "the client does not trust the server")
        self.unreachable(daemon, None, "no TLS")
        # The others go on, on the connection that they have and on new ones.
        self.assertEqual(list_collections(daemon.channel)[0], grpc.StatusCode.OK)
        self.assertEqual(list_collections(daemon.connect(good))[0], grpc.StatusCode.OK)
        self.assertNotIn("PRIVATE KEY", daemon.log())

    def https(self, daemon, path, ca, pair=None, token=None):
        """The status of an HTTPS request; None: there is no connection."""
        context = ssl.create_default_context(cafile=ca)
        if pair is not None:
            context.load_cert_chain(*pair)
        connection = http.client.HTTPSConnection(*daemon.http, context=context, timeout=30)
        try:
            connection.request(
                "GET", path, headers={"Authorization": "Bearer " + token} if token else {})
            return connection.getresponse().status
        except (ssl.SSLError, ConnectionError, http.client.BadStatusLine):
            return None
        finally:
            connection.close()

    def test_http_has_the_same_certificates_and_tokens(self):
        authority = self.authority()
        other = self.authority("other")
        server = authority.issue("server")
        client = authority.issue("client")
        token = make_token(self.tokens, "reader", "read")
        flags = ["--server.tls.certificate", server[0], "--server.tls.key", server[1],
                 "--server.tls.client_ca", authority.ca, "--server.access.tokens", self.tokens]
        daemon = self.daemon(*flags, credentials=credentials(authority.ca, client))
        self.assertEqual(self.https(daemon, "/metrics", authority.ca, client), 200)
        self.assertEqual(self.https(daemon, "/v1/models", authority.ca, client, token), 200)
        self.assertEqual(self.https(daemon, "/v1/models", authority.ca, client), 401)
        self.assertEqual(self.https(daemon, "/v1/models", authority.ca, client, "wrong"), 401)
        self.assertIsNone(self.https(daemon, "/metrics", authority.ca), "no certificate")
        self.assertIsNone(self.https(daemon, "/metrics", authority.ca, other.issue("stranger")))
        self.assertIsNone(self.https(daemon, "/metrics", other.ca, client), "an unknown server")
        plain = http.client.HTTPConnection(*daemon.http, timeout=30)
        plain.request("GET", "/metrics")
        with self.assertRaises((http.client.BadStatusLine, ConnectionError)):
            plain.getresponse()
        self.assertEqual(self.https(daemon, "/metrics", authority.ca, client), 200)
        # A new certificate is shown from the next connection on.
        for path, with_path in zip(server, other.issue("server2")):
            os.replace(with_path, path)
        self.assertTrue(wait_until(
            lambda: self.https(daemon, "/metrics", other.ca, client) == 200))

    def test_bad_certificates_keep_it_from_starting(self):
        authority = self.authority()
        pair = authority.issue("server")
        expired = authority.issue("old", expired=True)
        self.assertIn("server.tls.certificate is set, but server.tls.key is not",
                      self.refusal("--server.tls.certificate", pair[0]))
        self.assertIn(f"server.tls.certificate: {expired[0]} expired at 2020-02-01T00:00:00Z",
                      self.refusal(*self.tls_flags(expired)))
        self.assertIn(f"server.tls.key: {expired[1]} is not the key of the certificate in "
                      f"{pair[0]}", self.refusal(*self.tls_flags((pair[0], expired[1]))))
        self.assertIn(f"server.tls.certificate: {pair[1]} is no certificate in PEM",
                      self.refusal(*self.tls_flags((pair[1], pair[1]))))
        self.assertIn("server.tls.client_ca: /nowhere cannot be read: No such file",
                      self.refusal(*self.tls_flags(pair, "/nowhere")))

    def test_tokens_and_certificates_are_replaced_under_load(self):
        authority = self.authority()
        first, second = authority.issue("first"), authority.issue("second")
        served = (os.path.join(self.dir, "served.pem"), os.path.join(self.dir, "served.key"))
        for source, target in zip(first, served):
            shutil.copy(source, target)
        old = make_token(self.tokens, "app", "read")
        creds = credentials(authority.ca)
        daemon = self.daemon(*self.tls_flags(served), "--server.access.tokens", self.tokens,
                             credentials=creds)
        token = [old]
        stop = threading.Event()
        failures = []
        done = [0, 0]

        def load(index):
            # One keeps its connection, the other makes one for every request.
            channel = daemon.channel
            while not stop.is_set():
                if index:
                    channel = daemon.connect(creds)
                answer = list_collections(channel, token[0])
                if answer[0] != grpc.StatusCode.OK:
                    failures.append(answer)
                if index:
                    channel.close()
                done[index] += 1

        threads = [threading.Thread(target=load, args=(index,)) for index in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            def reload(outcome, what):
                return lambda: self.metric(daemon, "baton_reloads_total{outcome=\"%s\",what=\"%s\"}"
                                           % (outcome, what))

            def hup():
                before = reload("ok", "tokens")()
                daemon.process.send_signal(signal.SIGHUP)
                self.assertTrue(wait_until(lambda: reload("ok", "tokens")() == before + 1))

            # Tokens: both for a while, then the new one.
            new = make_token(self.tokens, "app", "read")
            hup()
            token[0] = new
            time.sleep(0.3)  # requests with the old one end
            with open(self.tokens, encoding="utf-8") as file:
                lines = file.readlines()
            with open(self.tokens, "w", encoding="utf-8") as file:
                file.writelines(lines[1:])
            hup()
            code, details, _ = list_collections(daemon.channel, old)
            self.assertEqual((code, details),
                             (grpc.StatusCode.UNAUTHENTICATED, "the bearer token is not known"))
            # A file that breaks off changes nothing.
            with open(self.tokens, "a", encoding="utf-8") as file:
                file.write("half a li")
            daemon.process.send_signal(signal.SIGHUP)
            self.assertTrue(wait_until(reload("failed", "tokens")))
            self.assertIn("server.access.tokens stay as they were", daemon.log())

            # The certificate: half of it, then with the old key, then whole.
            with open(second[0], "rb") as file:
                text = file.read()
            with open(served[0], "wb") as file:
                file.write(text[:100])
            self.assertTrue(wait_until(lambda: reload("failed", "certificate")() == 1))
            with open(served[0], "wb") as file:
                file.write(text)
            self.assertTrue(wait_until(lambda: reload("failed", "certificate")() == 2))
            time.sleep(2.5)  # gRPC has looked at what it watches
            self.assertEqual(self.common_name(daemon), "first")
            shutil.copy(second[1], served[1])
            self.assertTrue(wait_until(reload("ok", "certificate")))
            self.assertTrue(wait_until(lambda: self.common_name(daemon) == "second"))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        self.assertGreater(min(done), 20)
        print(f"{done[0]} requests on one connection, {done[1]} on as many: none failed")
        told = daemon.http_get("/metrics")[1] + daemon.log()
        for secret in (old, new):
            self.assertNotIn(secret, told)

    def common_name(self, daemon):
        """Of the certificate that new connections see."""
        run = subprocess.run(
            ["openssl", "s_client", "-connect", daemon.grpc_address, "-alpn", "h2"],
            input="", capture_output=True, text=True, errors="replace", timeout=30, check=False)
        for line in run.stdout.split("\n"):
            if line.startswith("subject="):
                return line.split("CN = ")[-1].split("CN=")[-1].strip()
        return run.stdout + run.stderr

    # ---- the configuration

    def test_sighup_takes_what_it_can_and_refuses_the_rest(self):
        config = os.path.join(self.dir, "batond.yaml")

        def write(text):
            with open(config, "w", encoding="utf-8") as file:
                file.write(text)
        write("log: {level: info}\nrequests: {slow_ms: 0}\n")
        daemon = self.daemon("--config", config)

        def hup(outcome):
            series = f'baton_reloads_total{{outcome="{outcome}",what="config"}}'
            before = self.metric(daemon, series)
            daemon.process.send_signal(signal.SIGHUP)
            self.assertTrue(wait_until(lambda: self.metric(daemon, series) == before + 1))
            # The last word on it comes after the count.
            return wait_until(lambda: daemon.log().rstrip().split("\n")[-1] != "") and daemon.log()

        hup("ok")  # nothing has changed
        list_collections(daemon.channel)
        vector_pb2 = PROTOCOL["vector"]

        def create(name):
            return call(daemon.channel, "baton.v1.VectorService", "CreateCollection",
                        vector_pb2.CreateCollectionRequest(spec=vector_pb2.CollectionSpec(
                            name=name, dimension=4)))[0]

        def upsert(name):
            return call(daemon.channel, "baton.v1.VectorService", "Upsert",
                        vector_pb2.UpsertRequest(collection=name, points=[vector_pb2.Point(
                            id=i, vector=[1, 2, 3, 4]) for i in range(5000)]))[0]
        self.assertEqual(create("a"), grpc.StatusCode.OK)
        self.assertEqual(upsert("a"), grpc.StatusCode.OK)
        self.assertNotIn("slow request", daemon.log())
        write("log: {level: info}\nrequests: {slow_ms: 1}\n"
              "queues: {requests_in_flight_max: 5}\n")
        hup("failed")
        self.assertTrue(wait_until(lambda: "2 keys differ" in daemon.log()))
        self.assertIn("requests.slow_ms: 0 -> 1\n", daemon.log())
        self.assertIn("queues.requests_in_flight_max: 4096 -> 5 is refused: it needs a restart",
                      daemon.log())
        self.assertEqual(upsert("a"), grpc.StatusCode.OK)
        self.assertTrue(wait_until(lambda: "slow request" in daemon.log()))
        self.assertRegex(daemon.log(), r"slow request \d+: [\d.]+ ms, OK; write \[[ .#]{24}\] ")
        # What is half written changes nothing, wherever it breaks off.
        kept = "the configuration stays as it was: " + config
        for half, error in (
                ("log: {level: debug}\nrequests: {slow_ms: 0", ":2: "),
                ("log: {level: debug}\nrequests:\n  slow_ms: 10\n  slow", ":4: "),
                ("log: {level: debug}\nrequ", ":2: ")):
            write(half)
            hup("failed")
            self.assertTrue(wait_until(lambda e=error: kept + e in daemon.log()), daemon.log())
        write("log: {level: error}\nrequests: {slow_ms: many}\n")
        hup("failed")
        self.assertTrue(wait_until(lambda: "requests.slow_ms must be an integer" in daemon.log()))
        self.assertEqual(list_collections(daemon.channel)[0], grpc.StatusCode.OK)
        self.assertNotIn("log.level: ", daemon.log())
        self.assertNotIn("requests.slow_ms: 1 -> ", daemon.log())
        # Once it is whole it is taken.
        write("log: {level: info}\nrequests: {slow_ms: 20000}\n")
        hup("ok")
        self.assertTrue(wait_until(lambda: "requests.slow_ms: 1 -> 20000\n" in daemon.log()))

    # ---- batonctl

    def batonctl(self, daemon, *flags):
        return subprocess.run([ARGS.batonctl, "--server", daemon.grpc_address, *flags],
                              capture_output=True, text=True, timeout=60, check=False)

    def test_batonctl_shows_token_and_certificate(self):
        authority = self.authority()
        token = make_token(self.tokens, "me", "read", "--rate", "100")
        self.assertEqual(os.stat(self.tokens).st_mode & 0o777, 0o600)
        client = authority.issue("client")
        daemon = self.daemon(*self.tls_flags(authority.issue("server"), authority.ca),
                             "--server.access.tokens", self.tokens,
                             credentials=credentials(authority.ca, client))
        token_file = os.path.join(self.dir, "token")
        with open(token_file, "w", encoding="utf-8") as file:
            file.write(token + "\n")
        tls = ["--tls-ca", authority.ca, "--tls-cert", client[0], "--tls-key", client[1]]
        good = self.batonctl(daemon, *tls, "--token-file", token_file, "devices")
        self.assertEqual(good.returncode, 0, good.stderr)
        bare = self.batonctl(daemon, *tls, "devices")
        self.assertEqual(bare.returncode, 1)
        self.assertIn("--token-file FILE", bare.stderr)
        denied = self.batonctl(daemon, *tls, "--token-file", token_file, "calibrate")
        self.assertIn('"me" lacks the scope admin', denied.stderr)
        plain = self.batonctl(daemon, "--token-file", token_file, "--timeout", "3", "devices")
        self.assertEqual(plain.returncode, 1)
        self.assertIn("or it wants TLS: --tls-ca FILE", plain.stderr)
        half = self.batonctl(daemon, "--tls-cert", client[0], "devices")
        self.assertEqual((half.returncode, "go together" in half.stderr), (2, True))
        for run in (good, bare, denied, plain):
            self.assertNotIn(token, run.stdout + run.stderr)

    def test_batonctl_doctor_and_top(self):
        config = os.path.join(self.dir, "batond.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"vector: {{data_dir: {self.dir}/data}}\n")
        daemon = self.daemon()
        good = self.batonctl(daemon, "--json", "doctor", "--config", config)
        self.assertEqual(good.returncode, 0, good.stdout + good.stderr)
        findings = {finding["what"]: finding for finding in json.loads(good.stdout)}
        self.assertEqual(findings["daemon"]["grade"], "ok")
        self.assertEqual(findings["configuration"]["grade"], "ok")
        self.assertIn("device cpu0", findings)
        with open(config, "a", encoding="utf-8") as file:
            file.write("nonsense: 1\n")
        bad = self.batonctl(daemon, "doctor", "--config", config)
        self.assertEqual(bad.returncode, 1)
        self.assertIn(config + ":2", bad.stdout)
        away = subprocess.run(
            [ARGS.batonctl, "--server", "127.0.0.1:1", "--timeout", "2", "doctor"],
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(away.returncode, 1)
        self.assertIn("does not answer", away.stdout)
        top = self.batonctl(daemon, "top", "--count", "2", "--interval", "0.2")
        self.assertEqual(top.returncode, 0, top.stderr)
        self.assertEqual(top.stdout.count("\033[H"), 2)
        self.assertIn("cpu0", top.stdout)
        self.assertIn("lexical", top.stdout.lower())
        once = self.batonctl(daemon, "top", "--count", "1")
        self.assertNotIn("\033", once.stdout)

    def test_batonctl_makes_no_token_that_the_daemon_would_refuse(self):
        for flags, error in ((["x", "--scopes", "all"], "scopes must be some of"),
                             (["a b", "--scopes", "read"], "the name must be"),
                             (["x", "--scopes", "read", "--rate", "0"], "--rate"),
                             (["x", "--scopes", "read", "--burst", "3"], "burst needs a rate"),
                             (["x", "--scopes", "read", "--expires", "soon"], "expires must be")):
            run = subprocess.run([ARGS.batonctl, "token", *flags, "--file", self.tokens],
                                 capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 2, run.stderr)
            self.assertIn(error, run.stderr)
            self.assertFalse(os.path.exists(self.tokens))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    baton_client.add_arguments(parser)
    parser.add_argument("--batonctl", required=True)
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=1)
