#!/usr/bin/python3
"""baton-load and batonctl against a daemon that wants client certificates and tokens: over gRPC and
over OpenAI's wire, from flags and from a scenario, while both are replaced, and what they say where
something is missing."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

import baton_client  # noqa: E402
import certificates  # noqa: E402

MODEL = os.path.join(ROOT, "deploy", "demo", "model", "baton-reader.gguf")
RUN_SECONDS_MAX = 60
WAIT_SECONDS_MAX = 20
ARGS = None


class Daemon(baton_client.Daemon):
    """One that is not waited for over gRPC, whose certificates are what is tested."""

    def connect(self, credentials=None, options=()):
        return None


class LoadTlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="baton-load-tls-")
        folder = cls.folder.name
        cls.authority = certificates.Authority(folder, "baton")
        cls.other = certificates.Authority(folder, "other")
        server = cls.authority.issue("server")
        cls.client = cls.authority.issue("client")
        cls.late = cls.authority.issue("late", expired=True)
        tokens = os.path.join(folder, "tokens")
        cls.token = cls.write("token", cls.make_token(tokens, "load", "read,generate"))
        cls.reader = cls.write("reader", cls.make_token(tokens, "reader", "read"))
        cls.daemon = cls.start(server, tokens)

    @classmethod
    def start(cls, server, tokens):
        grpc, baton_client.grpc = baton_client.grpc, None
        try:
            return Daemon(ARGS.batond, [
                "--model", MODEL, "--server.access.tokens", tokens, "--server.tls.certificate",
                server[0], "--server.tls.key", server[1], "--server.tls.client_ca",
                cls.authority.ca])
        finally:
            baton_client.grpc = grpc

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()
        cls.folder.cleanup()

    @classmethod
    def write(cls, name, text):
        path = os.path.join(cls.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        return path

    @classmethod
    def make_token(cls, path, name, scopes):
        made = subprocess.run([ARGS.batonctl, "token", name, "--scopes", scopes, "--file", path],
                              capture_output=True, text=True, check=True)
        return made.stdout.strip().split("\n")[-1]

    def load(self, api, *flags, scenario="generate", ca=None):
        """(exit code, figures, all it printed); flags of TLS are the caller's."""
        target = self.daemon.grpc_address if api == "baton" else "%s:%d" % self.daemon.http
        report = os.path.join(self.folder.name, "report.json")
        if os.path.exists(report):
            os.remove(report)
        run = subprocess.run(
            [ARGS.baton_load, "--api", api, "--target", target, "--scenario", scenario, "--rate",
             "50", "--duration", "0.4", "--seed", "7", "--max-tokens", "4", "--quiet", "--json",
             report, *flags], capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False)
        figures = {}
        if os.path.exists(report):
            with open(report, encoding="utf-8") as file:
                figures = json.load(file)["figures"]
        return run.returncode, figures, run.stdout + run.stderr

    def tls(self, pair=None, ca=None):
        flags = ["--tls-ca", ca or self.authority.ca]
        return flags + (["--tls-cert", pair[0], "--tls-key", pair[1]] if pair else [])

    def test_certificate_and_token_let_it_in(self):
        for api in ("baton", "openai"):
            with self.subTest(api):
                code, figures, text = self.load(api, *self.tls(self.client), "--token-file",
                                                self.token)
                self.assertEqual(code, 0, text)
                self.assertGreater(figures["requests.ok"], 0)
                self.assertFalse([name for name in figures if name.startswith("errors.")], text)
                with open(self.token, encoding="utf-8") as file:
                    self.assertNotIn(file.read().strip(), text)

    def test_both_are_replaced_under_load_and_nothing_fails(self):
        """A client with the old token runs while a new token comes and the certificate is replaced;
        one with the new token and new connections starts before the first ends, and runs while the
        old token goes."""
        served = tuple(os.path.join(self.folder.name, "served." + end) for end in ("pem", "key"))
        first, second = self.authority.issue("first"), self.authority.issue("second")
        for source, target in zip(first, served):
            shutil.copy(source, target)
        tokens = os.path.join(self.folder.name, "rotated")
        old = self.write("old", self.make_token(tokens, "app", "read,generate"))
        daemon = self.start(served, tokens)
        self.addCleanup(daemon.close)

        def begin(name, api, token, seconds):
            target = daemon.grpc_address if api == "baton" else "%s:%d" % daemon.http
            report = os.path.join(self.folder.name, name + api + ".json")
            log = open(report + ".log", "wb")  # pylint: disable=consider-using-with
            self.addCleanup(log.close)
            process = subprocess.Popen(
                [ARGS.baton_load, "--api", api, "--target", target, "--scenario", "generate",
                 "--rate", "40", "--warmup", "0", "--duration", str(seconds), "--max-tokens", "4",
                 "--quiet", "--json", report, *self.tls(self.client), "--token-file", token],
                stdout=log, stderr=log)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            return process, report

        def reloads():
            return daemon.log().count("server.access.tokens was read again")

        def hup():
            before = reloads()
            daemon.process.send_signal(signal.SIGHUP)
            self.wait_until(lambda: reloads() > before, daemon)

        runs = [begin("old", api, old, 3) for api in ("baton", "openai")]
        time.sleep(1)
        new = self.write("new", self.make_token(tokens, "app", "read,generate"))
        hup()
        for source, target in zip(second, served):
            shutil.copy(source, target)
        self.wait_until(lambda: "the new certificate is served" in daemon.log(), daemon)
        late = [begin("new", api, new, 4) for api in ("baton", "openai")]
        for process, _ in runs:
            self.assertEqual(process.wait(RUN_SECONDS_MAX), 0)
        with open(tokens, encoding="utf-8") as file:
            lines = file.readlines()
        with open(tokens, "w", encoding="utf-8") as file:
            file.writelines(lines[1:])
        hup()
        self.assertEqual([process.poll() for process, _ in late], [None, None])
        for process, _ in late:
            self.assertEqual(process.wait(RUN_SECONDS_MAX), 0)
        for _, report in [*runs, *late]:
            with open(report, encoding="utf-8") as file:
                figures = json.load(file)["figures"]
            self.assertFalse([name for name in figures if name.startswith("errors.")], figures)
            self.assertEqual(figures["requests.ok"], figures["requests.sent"])
            self.assertGreater(figures["requests.ok"], 80)
        gone, report = begin("gone", "baton", old, 1)
        self.assertEqual(gone.wait(RUN_SECONDS_MAX), 1)
        with open(report, encoding="utf-8") as file:
            self.assertGreater(json.load(file)["figures"]["errors.UNAUTHENTICATED"], 0)

    def wait_until(self, condition, daemon):
        end = time.monotonic() + WAIT_SECONDS_MAX
        while not condition():
            self.assertLess(time.monotonic(), end, daemon.log())
            time.sleep(0.02)

    def test_a_scenario_names_them_relative_to_itself(self):
        names = [os.path.basename(path) for path in (self.authority.ca, *self.client, self.token)]
        scenario = self.write("scenario.yaml", (
            "load: [{kind: generate}]\ntls: {ca: %s, cert: %s, key: %s}\ntoken_file: %s"
            % tuple(names)))
        for api in ("baton", "openai"):
            with self.subTest(api):
                code, figures, text = self.load(api, scenario=scenario)
                self.assertEqual(code, 0, text)
                self.assertGreater(figures["requests.ok"], 0)

    def test_a_token_without_the_scope_is_told_so(self):
        for api in ("baton", "openai"):
            for flags, error in (((), "errors.UNAUTHENTICATED"),
                                 (("--token-file", self.reader), "errors.PERMISSION_DENIED")):
                with self.subTest(api=api, error=error):
                    code, figures, text = self.load(api, *self.tls(self.client), *flags)
                    self.assertEqual(code, 1, text)
                    self.assertEqual(figures["requests.ok"], 0)
                    self.assertGreater(figures[error], 0)

    def test_who_is_not_trusted_is_not_answered(self):
        stranger = self.other.issue("stranger")
        for api in ("baton", "openai"):
            for what, flags in (("no certificate", self.tls()),
                                ("an expired one", self.tls(self.late)),
                                ("another authority's", self.tls(stranger)),
                                ("no TLS", [])):
                with self.subTest(api=api, what=what):
                    code, figures, text = self.load(api, *flags, "--token-file", self.token,
                                                    "--deadline-ms", "2000")
                    self.assertEqual(code, 1, text)
                    self.assertEqual(figures.get("requests.ok", 0), 0)
            with self.subTest(api=api, what="a server of another authority"):
                code, _, text = self.load(api, *self.tls(self.client, self.other.ca))
                self.assertEqual(code, 1, text)
                self.assertIn("nothing answers at", text)
                self.assertRegex(text.lower(), "certificate|handshake")

    def test_files_that_are_missing_or_wrong_are_named(self):
        two = self.write("two", "one two")
        for flags, error in (
                (["--tls-ca", "/nowhere"], "--tls-ca: cannot read /nowhere"),
                (["--tls-cert", self.client[0]], "--tls-cert and --tls-key go together"),
                (["--token-file", "/nowhere"], "--token-file: cannot read /nowhere"),
                (["--token-file", two], two + " must hold one token")):
            with self.subTest(error):
                load = self.load("baton", *flags)
                self.assertNotEqual(load[0], 0)
                self.assertIn(error, load[2])
                self.assertNotIn("one two", load[2])
                ctl = subprocess.run([ARGS.batonctl, *flags, "devices"], capture_output=True,
                                     text=True, timeout=RUN_SECONDS_MAX, check=False)
                self.assertEqual(ctl.returncode, 2)
                self.assertIn(error, ctl.stderr)


def main():
    global ARGS
    parser = argparse.ArgumentParser(description=__doc__)
    for flag in ("--batond", "--batonctl", "--baton-load"):
        parser.add_argument(flag, required=True)
    ARGS, rest = parser.parse_known_args()
    if not shutil.which("openssl"):
        print("SKIPPED: no openssl program")
        return
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
