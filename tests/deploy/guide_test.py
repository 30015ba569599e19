#!/usr/bin/python3
"""deploy/GUIDE.md, followed line by line: its blocks of sh are one bash, in an empty folder, which
stops where a command fails. Ports are free ones, all else is as it is written.

    guide_test.py --bin DIR"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUIDE = os.path.join(ROOT, "deploy", "GUIDE.md")
SECONDS_MAX = 240
BLOCKS_MIN = 8
PORTS = ("50051", "9464")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    args = parser.parse_args()
    missing = [name for name in ("curl", "openssl") if not shutil.which(name)]
    if missing:
        print("SKIPPED: no " + ", ".join(missing))
        return
    with open(GUIDE, encoding="utf-8") as file:
        text = file.read()
    kinds = re.findall(r"^```(\w+)$", text, re.MULTILINE)
    if set(kinds) != {"sh", "text"} or kinds.count("sh") < BLOCKS_MIN:
        raise SystemExit(f"FAILED: blocks of {kinds}")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    server = []
    for port in PORTS:
        assert port in script
        free = free_port()
        server.append(free)
        script = script.replace(port, free)
    # What a terminal has: jobs by number, aliases. batonctl's own default is the port above.
    prelude = ("set -euxo pipefail -m\nshopt -s expand_aliases\n"
               f"batonctl() {{ command batonctl --server 127.0.0.1:{server[0]} \"$@\"; }}\n")
    with tempfile.TemporaryDirectory(prefix="baton-guide-") as folder:
        shell = subprocess.Popen(
            ["bash"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={"PATH": os.path.realpath(args.bin) + ":" + os.environ["PATH"], "BATON": ROOT,
                 "HOME": folder, "LC_ALL": "C.UTF-8", "no_proxy": "127.0.0.1"})
        try:
            said, _ = shell.communicate(prelude + script, SECONDS_MAX)
        finally:
            # With -m each job is a group of its own, which ends with what it wrote its log to.
            for name in os.listdir("/proc"):
                try:
                    if name.isdigit() and os.readlink(f"/proc/{name}/cwd") == folder:
                        os.kill(int(name), signal.SIGKILL)
                except OSError:
                    pass  # it has ended, or is another's
            shell.wait()
        if shell.returncode != 0:
            print(said)
            for log in ("batond.log", "restored.log"):
                path = os.path.join(folder, log)
                if os.path.exists(path):
                    with open(path, encoding="utf-8") as file:
                        print(f"==== {log}\n" + file.read()[-3000:])
            raise SystemExit(f"FAILED: the guide ended with {shell.returncode}")
    print(f"the guide's {kinds.count('sh')} blocks hold")


if __name__ == "__main__":
    sys.exit(main())
