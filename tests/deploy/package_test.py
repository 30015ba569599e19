#!/usr/bin/python3
"""What deploy/package has made: the .deb has what a service needs, the tarball runs from any folder
with nothing of the machine but its C and C++ run times.

    package_test.py BUILD_DIR/package"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SECONDS_MAX = 60
PACKAGES = os.path.realpath(sys.argv[1])
OF_THE_MACHINE = re.compile(
    r"^(linux-vdso|.*/?ld-linux-x86-64|lib(c|m|dl|rt|pthread|resolv|util|anl|stdc\+\+|gcc_s))\.so")
PROGRAMS = ["batond", "batonctl", "baton-load"]


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True,
                          **options).stdout


def only(pattern):
    found = glob.glob(os.path.join(PACKAGES, pattern))
    if len(found) != 1:
        raise AssertionError(f"{pattern}: {found}")
    return found[0]


class DebTest(unittest.TestCase):
    def test_fields_and_files(self):
        deb = only("*.deb")
        depends = run("dpkg-deb", "-f", deb, "Depends")
        for package in ("adduser", "libgrpc++1.51", "libsystemd0"):
            self.assertIn(package, depends)
        with tempfile.TemporaryDirectory() as folder:
            run("dpkg-deb", "-R", deb, folder)
            with open(os.path.join(folder, "DEBIAN", "conffiles"), encoding="utf-8") as file:
                for path in file.read().split():
                    self.assertTrue(os.path.isfile(folder + path), path)
            for script in ("postinst", "prerm", "postrm"):
                self.assertTrue(os.access(os.path.join(folder, "DEBIAN", script), os.X_OK))
            with open(os.path.join(folder, "lib/systemd/system/batond.service"),
                      encoding="utf-8") as file:
                started = re.search(r"^ExecStart=(\S+) --config (\S+)$", file.read(), re.MULTILINE)
            for path in started.groups():
                self.assertTrue(os.path.isfile(folder + path), path)
            run(folder + "/usr/bin/batond", "--config", folder + "/etc/baton/batond.yaml",
                "--print-config")


class TarballTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        run("tar", "-C", folder.name, "-xf", only("*.tar.xz"))
        (self.top,) = (os.path.join(folder.name, name) for name in os.listdir(folder.name))

    def libraries(self):
        """{name: path} of all that its programs load."""
        listed = "".join(run("ldd", os.path.join(self.top, "bin", name), env={})
                         for name in PROGRAMS)
        return dict(re.findall(r"^\t(\S+) => (.*?)(?: \(0x.*\))?$", listed, re.MULTILINE))

    def test_it_loads_what_is_its_own(self):
        for name, path in self.libraries().items():
            self.assertTrue(OF_THE_MACHINE.match(name) or
                            os.path.realpath(path).startswith(self.top), f"{name}: {path}")
        for name in PROGRAMS:
            run(os.path.join(self.top, "bin", name), "--help", env={})

    def test_it_starts_in_a_root_that_has_nothing_else(self):
        if os.geteuid() != 0:
            print("SKIPPED: a root folder of its own needs root")
            self.skipTest("not root")
        with tempfile.TemporaryDirectory() as root:
            shutil.copytree(self.top, os.path.join(root, "opt/baton"), symlinks=True)
            of_libraries = os.path.join(root, "lib/x86_64-linux-gnu")
            os.makedirs(of_libraries)
            os.makedirs(os.path.join(root, "lib64"))
            shutil.copy("/lib64/ld-linux-x86-64.so.2", os.path.join(root, "lib64"))
            for name, path in self.libraries().items():
                if OF_THE_MACHINE.match(name):
                    shutil.copy(path, os.path.join(of_libraries, name))
            # LD_ORIGIN_PATH: there is no /proc to find the programs' own folder by.
            run("/usr/sbin/chroot", root, "/opt/baton/bin/batond",
                "--config", "/opt/baton/etc/batond.yaml", "--print-config",
                env={"LD_ORIGIN_PATH": "/opt/baton/bin"})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
