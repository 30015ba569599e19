#!/usr/bin/python3
"""A pack starts on a machine that has none of what it was built with.

    pack_test.py PACK

With no environment; with another program's libraries in LD_LIBRARY_PATH; and, as root, in a root
folder in which there is nothing but the pack and the C and C++ run times."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PACK = pathlib.Path(sys.argv[1]).resolve()
OF_THE_MACHINE = re.compile(
    r"^(linux-vdso|.*/?ld-linux-x86-64|lib(c|m|dl|rt|pthread|resolv|util|anl|stdc\+\+|gcc_s))\.so")
PROGRAMS = ["batond", "batonctl", "bench_gpu", "cuda_kernels_device_test", "exec_gpu_device_test",
            "synthetic_model"]


def libraries(path, environment):
    """{name: path} of what a program or library loads."""
    listed = subprocess.run(["ldd", str(path)], env=environment, capture_output=True, text=True,
                            check=True).stdout
    return dict(re.findall(r"^\t(\S+) => (.*?)(?: \(0x.*\))?$", listed, re.MULTILINE))


class PackTest(unittest.TestCase):
    def start(self, *command, environment=None, root=None):
        if root:
            command = ["/usr/sbin/chroot", str(root), *command]
        return subprocess.run(command, env=environment or {}, capture_output=True, text=True,
                              timeout=60, check=False)

    def check_starts(self, folder, **how):
        version = self.start(f"{folder}/bin/batond", "--version", **how)
        self.assertEqual(version.returncode, 0, version.stderr)
        config = self.start(f"{folder}/bin/batond", "--print-config", **how)
        self.assertIn("executors:", config.stdout, config.stderr)
        self.assertEqual(self.start(f"{folder}/bin/batonctl", "--help", **how).returncode, 0)
        if not os.path.exists("/dev/nvidia0"):
            for program in ("bench_gpu", "cuda_kernels_device_test"):
                done = self.start(f"{folder}/bin/{program}", **how)
                self.assertEqual(done.returncode, 77, done.stdout + done.stderr)
                self.assertIn("no device: ", done.stdout)

    def test_nothing_is_loaded_from_outside(self):
        with tempfile.TemporaryDirectory() as elsewhere:
            # Another program's library of a name that the pack has, too: it must not be taken.
            (pathlib.Path(elsewhere) / "libgrpc.so.29").write_bytes(b"not a library")
            for environment in ({}, {"LD_LIBRARY_PATH": elsewhere}):
                for program in [*PROGRAMS, "libbaton_gpu.so"]:
                    for name, path in libraries(PACK / "bin" / program, environment).items():
                        if not OF_THE_MACHINE.match(name):
                            self.assertTrue(path.startswith(str(PACK) + "/"),
                                            f"{program}: {name} => {path}")

    def test_it_starts_without_an_environment(self):
        self.check_starts(PACK)

    def test_it_starts_in_another_place(self):
        with tempfile.TemporaryDirectory() as elsewhere:
            moved = shutil.copytree(PACK, os.path.join(elsewhere, "a b"))
            self.check_starts(moved, environment={"LD_LIBRARY_PATH": elsewhere})

    def test_it_starts_in_an_empty_root(self):
        if os.geteuid() != 0:
            self.skipTest("only root may change its root folder")
        with tempfile.TemporaryDirectory() as root:
            shutil.copytree(PACK, os.path.join(root, "pack"))
            listed = subprocess.run(["ldd", str(PACK / "bin" / "batond")], capture_output=True,
                                    text=True, check=True, env={}).stdout
            for path in re.findall(r"(/\S+) \(0x", listed):
                if not path.startswith(str(PACK)):
                    to = pathlib.Path(root + path)
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, to)
            # Without /proc the loader knows no $ORIGIN; what it stands for is tried above.
            self.check_starts("/pack", root=root, environment={"LD_LIBRARY_PATH": "/pack/lib"})


if __name__ == "__main__":
    unittest.main(argv=["pack_test", *sys.argv[2:]])
