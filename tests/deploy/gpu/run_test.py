#!/usr/bin/python3
"""What `run` of deploy/gpu does with what programs say, by programs that are scripts; and its check
of the daemon, on the CPU where --bin says where that is."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "deploy" / "gpu"))

import daemon_check  # noqa: E402
import parts  # noqa: E402

DEVICE = {"device": "NVIDIA H200", "detail": "capability 9.0", "memory_bytes": 150 * 10**9,
          "emulated": False}


class Pack(unittest.TestCase):
    """A pack whose programs are scripts."""

    bin_dir = ""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.pack = pathlib.Path(self.folder.name)
        for name in ("run", "parts.py", "daemon_check.py", "torch_peer.py"):
            (self.pack / name).symlink_to(ROOT / "deploy" / "gpu" / name)
        (self.pack / "bin").mkdir()
        (self.pack / "cuda_major").write_text("13\n")
        (self.pack / "commit").write_text("abc\n")
        self.log = open(self.pack / "log", "w", encoding="utf-8")
        self.addCleanup(self.log.close)

    def program(self, name, script):
        path = self.pack / "bin" / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def context(self, no_device=""):
        return parts.Context(here=self.pack, out=self.pack, log=self.log,
                             until=time.monotonic() + 60, device=DEVICE, no_device=no_device)

    def run_all(self, *flags):
        # A real copy of the script: it finds its pack beside itself.
        (self.pack / "run").unlink(missing_ok=True)
        (self.pack / "run").write_bytes((ROOT / "deploy" / "gpu" / "run").read_bytes())
        done = subprocess.run([sys.executable, str(self.pack / "run"), "--out",
                               str(self.pack / "out"), *flags], capture_output=True, text=True,
                              timeout=60, check=False)
        path = self.pack / "out" / "run.json"
        return done, json.loads(path.read_text()) if path.exists() else {}

    def test_without_a_device_every_part_says_so(self):
        for name in ("bench_gpu", "cuda_kernels_device_test"):
            self.program(name, "echo 'no device: no driver'; exit 77\n")
        done, results = self.run_all()
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertEqual(len(results), 7)
        for name, result in results.items():
            self.assertEqual((result["status"], result["summary"]),
                             ("cannot", "no device: no driver"), name)
            self.assertRegex(done.stdout, rf"(?m)^{name} +cannot .*no device: no driver$")

    def test_each_part_leaves_its_result_at_once(self):
        self.program("bench_gpu", f"echo '{json.dumps(DEVICE)}'\n")
        self.program("cuda_kernels_device_test",
                     f"cat {self.pack}/out/run.json; echo 'All tests passed (3 assertions)'\n")
        done, results = self.run_all("--only", "kernel_tests")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(results["machine"]["status"], "passed")
        self.assertIn('"machine"', (self.pack / "out" / "run.log").read_text())
        self.assertEqual(results["kernel_tests"]["summary"], "All tests passed (3 assertions)")

    def test_a_run_that_is_over_starts_no_more_parts(self):
        self.program("bench_gpu", f"echo '{json.dumps(DEVICE)}'\n")
        self.program("cuda_kernels_device_test", "sleep 30\n")
        done, results = self.run_all("--only", "kernel_tests,executor_tests", "--seconds", "1.5")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(results["kernel_tests"]["summary"], "ran past its limit")
        self.assertEqual(results["executor_tests"]["summary"], "the run's 2 s were over")

    def test_a_wrong_part_is_named(self):
        done, _ = self.run_all("--only", "kernels")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no part is called kernels", done.stderr)

    def test_what_tests_say_is_their_verdict(self):
        name = "exec_gpu_device_test"
        for script, status, summary in (
                ("echo 'All tests passed (9 assertions in 2 cases)'", "passed", "9 assertions"),
                ("echo 'test cases: 3 | 2 passed | 1 failed'; exit 1", "failed", "1 failed"),
                ("echo 'SKIPPED: no test data'; echo 'All tests passed'", "cannot", "1 skipped"),
                ("kill -SEGV $$", "failed", "exit code -11")):
            self.program(name, script + "\n")
            result = parts.executor_tests(self.context())
            self.assertEqual(result["status"], status, result)
            self.assertIn(summary, result["summary"])

    def test_the_bench_is_judged_by_its_bars(self):
        report = {"bars": {"a": "met", "b": "missed"}, "absent": {"c": "why"}, "void": ""}
        for code, status in ((0, "passed"), (1, "failed"), (3, "cannot"), (2, "failed")):
            self.program("bench_gpu", f"echo '{json.dumps(report)}' > $2; echo noise; echo; "
                                      f"echo table; exit {code}\n")
            result = parts.bench(self.context())
            self.assertEqual(result["status"], status, result)
            self.assertEqual(result["table"], ["table"])
        report["void"] = "too slow"
        self.program("bench_gpu", f"echo '{json.dumps(report)}' > $2; exit 3\n")
        self.assertIn("1 bars met, 1 missed, 1 figures absent; VOID: too slow",
                      parts.bench(self.context())["summary"])

    def test_an_error_ends_its_part_alone(self):
        result = parts.guarded(parts.bench, self.context())  # there is no such program
        self.assertEqual(result["status"], "failed")
        self.assertIn("FileNotFoundError", result["summary"])

    def test_cublas_is_found_among_python_packages(self):
        folder = self.pack / "site" / "nvidia" / "cu13" / "lib"
        folder.mkdir(parents=True)
        sys.path.insert(0, str(self.pack / "site"))
        self.addCleanup(sys.path.remove, str(self.pack / "site"))
        self.assertNotIn(str(folder), parts.cublas_folders("99"))
        (folder / "libcublasLt.so.99").touch()
        self.assertEqual(parts.cublas_folders("99"), [str(folder)])

    def test_a_shape_fits_device_host_and_disk(self):
        gb = 10**9
        choose = daemon_check.choose_shape
        self.assertEqual(choose(150 * gb, 60 * gb, 120 * gb), "8b")
        self.assertEqual(choose(24 * gb, 60 * gb, 120 * gb), "1b")
        self.assertEqual(choose(150 * gb, 10 * gb, 120 * gb), "1b")
        self.assertEqual(choose(150 * gb, 60 * gb, 4 * gb), "tiny")
        with self.assertRaises(daemon_check.DaemonError):
            choose(150 * gb, 1000, 120 * gb)

    def test_the_daemon_is_checked_from_start_to_end(self):
        if not self.bin_dir:
            self.skipTest("no --bin")
        for name in ("batond", "batonctl", "synthetic_model"):
            (self.pack / "bin" / name).symlink_to(os.path.join(self.bin_dir, name))
        folder = self.pack / "daemon"
        folder.mkdir()
        figures = daemon_check.run(self.context(), folder, platform="cpu", shape="tiny")
        self.assertEqual(figures["shape"], "tiny")
        self.assertGreater(figures["alone_tokens_per_s"], 0)
        # Required and not there: said, and not waited for.
        if not os.path.exists("/dev/nvidia0"):
            with self.assertRaisesRegex(daemon_check.DaemonError, "batond ended with [1-9]"):
                daemon_check.run(self.context(), folder, platform="gpu", shape="tiny")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default="")
    arguments, rest = parser.parse_known_args()
    Pack.bin_dir = arguments.bin
    unittest.main(argv=["run_test", *rest])
