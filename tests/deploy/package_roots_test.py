#!/usr/bin/python3
"""The packages in fresh roots. The .deb in a minimal Debian 12: it installs with what it depends
on, the service's own configuration starts, the demo is served, it is removed and purged, and
nothing of it is left. The tarball in a minimal Debian 13, to which nothing is added but the C++ run
time.

    package_roots_test.py BUILD_DIR [TEST]...

Makes the packages of what BUILD_DIR has built. Needs root, mmdebstrap and a mirror, and is skipped,
loudly, without the first two. The mirror is BATON_DEBIAN_MIRROR, else mmdebstrap's own choice.
Takes minutes."""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MIRROR = [url for url in [os.environ.get("BATON_DEBIAN_MIRROR")] if url]
SECONDS_MAX = 900
READY_SECONDS_MAX = 60
PROXIES = {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy")
           if name in os.environ}
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root",
               "DEBIAN_FRONTEND": "noninteractive", **PROXIES}
PACKAGES = None


class Root:
    """A fresh Debian in a folder, with /proc, which close() takes away."""

    def __init__(self, suite, *packages):
        self.folder = tempfile.mkdtemp(prefix=f"baton-{suite}-", dir="/var/tmp")
        os.chmod(self.folder, 0o755)  # others than root live there
        include = ["--include=" + ",".join(packages)] if packages else []
        made = subprocess.run(
            ["mmdebstrap", "--variant=minbase", *include, suite, self.folder, *MIRROR],
            capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        if made.returncode != 0:
            shutil.rmtree(self.folder)
            raise AssertionError(f"mmdebstrap {suite}:\n{made.stderr[-3000:]}")
        subprocess.run(["mount", "-t", "proc", "proc", self.path("proc")], check=True)
        subprocess.run(["mount", "--rbind", "--make-rslave", "/dev", self.path("dev")], check=True)
        # The resolver of this machine.
        shutil.copy("/etc/resolv.conf", os.path.join(self.folder, "etc/resolv.conf"))

    def close(self):
        for target in ("dev", "proc"):
            subprocess.run(["umount", "--recursive", "--lazy", os.path.join(self.folder, target)],
                           check=False)
        # Never through a mount that is still there.
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=True)

    def path(self, inside):
        return os.path.join(self.folder, inside.lstrip("/"))

    def command(self, *command, user=None):
        as_user = ["--userspec=" + user] if user else []
        return ["chroot", *as_user, self.folder, *command]

    def run(self, *command, user=None, check=True):
        ended = subprocess.run(self.command(*command, user=user), capture_output=True, text=True,
                               timeout=SECONDS_MAX, env=ENVIRONMENT, check=False)
        if check and ended.returncode != 0:
            raise AssertionError(f"{command} ended with {ended.returncode}:\n"
                                 f"{ended.stdout[-3000:]}{ended.stderr[-3000:]}")
        return ended

    def named(self, word):
        """Files whose name has the word, but for the kernel's."""
        found = self.run("find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/dev", ")",
                         "-prune", "-o", "-name", f"*{word}*", "-print").stdout
        return set(found.split())

    def start(self, *command, user=None):
        return subprocess.Popen(self.command(*command, user=user), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)


def only(pattern):
    found = glob.glob(os.path.join(PACKAGES, pattern))
    if len(found) != 1:
        raise AssertionError(f"{pattern}: {found}")
    return found[0]


class RootsTest(unittest.TestCase):
    def root(self, *arguments):
        root = Root(*arguments)
        self.addCleanup(root.close)
        return root

    def serve(self, root, program, *flags, user=None):
        """Starts the daemon, asks it for its devices, and has it end as a service is."""
        ports = "/tmp/ports"
        daemon = root.start(program, *flags, "--grpc-address", "127.0.0.1:0", "--http-address",
                            "127.0.0.1:0", "--port-file", ports, user=user)
        try:
            end = time.monotonic() + READY_SECONDS_MAX
            while not os.path.exists(root.path(ports)) and daemon.poll() is None:
                self.assertLess(time.monotonic(), end, "it is not ready")
                time.sleep(0.1)
            if daemon.poll() is not None:
                self.fail("it ended:\n" + daemon.stdout.read())
            with open(root.path(ports), encoding="utf-8") as file:
                address = re.search(r"^grpc=(.*)$", file.read(), re.MULTILINE).group(1)
            ctl = os.path.join(os.path.dirname(program), "batonctl")
            self.assertIn("cpu0", root.run(ctl, "--server", address, "devices").stdout)
            daemon.send_signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(READY_SECONDS_MAX), 0, daemon.stdout.read())
        finally:
            daemon.kill()
            daemon.wait()
            daemon.stdout.close()
            if os.path.exists(root.path(ports)):
                os.remove(root.path(ports))

    def demo(self, root, programs, user=None):
        """The demo's question, by the programs in that folder."""
        shutil.copytree(os.path.join(ROOT, "deploy", "demo"), root.path("/opt/demo"))
        asked = root.run("/opt/demo/run", "--bin", programs, "--model",
                         "/opt/demo/model/baton-reader.gguf", "--questions", "3", "--seed", "1",
                         user=user).stdout
        shutil.rmtree(root.path("/opt/demo"))
        self.assertRegex(asked, r"(?m)^demo: ")
        print(asked)

    def test_the_deb_in_debian_12(self):
        root = self.root("bookworm", "adduser")
        root.run("apt-get", "update")
        before = root.named("baton")
        shutil.copy(only("*.deb"), root.path("/tmp/baton.deb"))
        root.run("apt-get", "install", "-y", "--no-install-recommends", "/tmp/baton.deb")
        os.remove(root.path("/tmp/baton.deb"))
        self.assertEqual(root.run("dpkg", "--verify", "baton").stdout, "")
        listed = root.run("dpkg", "-L", "baton").stdout.split()
        state = os.stat(root.path("/var/lib/baton"))
        self.assertEqual(state.st_mode & 0o777, 0o750)

        self.serve(root, "/usr/bin/batond", "--config", "/etc/baton/batond.yaml", user="baton")
        self.assertTrue(os.listdir(root.path("/var/lib/baton/data")))
        self.demo(root, "/usr/bin", user="baton")

        # Once more, as an upgrade does it: the data and what was changed of the configuration stay.
        with open(root.path("/etc/baton/batond.yaml"), "a", encoding="utf-8") as file:
            file.write("# changed here\n")
        shutil.copy(only("*.deb"), root.path("/tmp/baton.deb"))
        root.run("apt-get", "install", "-y", "--reinstall", "/tmp/baton.deb")
        os.remove(root.path("/tmp/baton.deb"))
        with open(root.path("/etc/baton/batond.yaml"), encoding="utf-8") as file:
            self.assertIn("# changed here", file.read())

        # Removed: what is left is what Debian's policy leaves, configuration and data.
        root.run("apt-get", "remove", "-y", "baton")
        left = {path for path in listed if os.path.isfile(root.path(path))}
        self.assertEqual(left, {"/etc/baton/batond.yaml"})
        self.assertTrue(os.listdir(root.path("/var/lib/baton/data")))
        self.assertEqual(root.run("dpkg-query", "-W", "-f=${db:Status-Status}", "baton").stdout,
                         "config-files")

        root.run("apt-get", "purge", "-y", "baton")
        self.assertNotEqual(root.run("dpkg-query", "-W", "baton", check=False).returncode, 0)
        self.assertEqual(root.named("baton") - before, set())
        self.assertNotEqual(root.run("getent", "passwd", "baton", check=False).returncode, 0)
        self.assertNotEqual(root.run("getent", "group", "baton", check=False).returncode, 0)
        orphans = root.run("find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/dev", ")",
                           "-prune", "-o", "-nouser", "-print").stdout
        self.assertEqual(orphans, "")

    def test_the_tarball_in_debian_13(self):
        root = self.root("trixie", "libstdc++6")
        subprocess.run(["tar", "-C", root.path("/opt"), "-xf", only("*.tar.xz")], check=True)
        (top,) = os.listdir(root.path("/opt"))
        self.serve(root, f"/opt/{top}/bin/batond", "--config", f"/opt/{top}/etc/batond.yaml",
                   "--data-dir", "/tmp/data")
        self.demo(root, f"/opt/{top}/bin")


def main():
    global PACKAGES
    build = os.path.realpath(sys.argv[1])
    PACKAGES = os.path.join(build, "package")
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        print("SKIPPED: fresh roots need root and mmdebstrap (apt-get install mmdebstrap)")
        return
    made = subprocess.run([os.path.join(ROOT, "deploy", "package"), build], capture_output=True,
                          text=True, timeout=SECONDS_MAX, check=False)
    if made.returncode != 0:
        raise SystemExit(f"deploy/package ended with {made.returncode}:\n{made.stdout[-3000:]}"
                         f"{made.stderr[-3000:]}")
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)


if __name__ == "__main__":
    main()
