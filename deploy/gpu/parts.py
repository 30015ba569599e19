"""The parts of `run`. Each takes the context and returns a result: {"status": passed, failed or
cannot, "summary": one line, ...}."""

import dataclasses
import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import typing

import daemon_check

NO_DEVICE = 77  # how the programs end where there is none


@dataclasses.dataclass
class Context:
    here: pathlib.Path
    out: pathlib.Path
    log: typing.TextIO
    until: float = 0  # monotonic: when this part has to be over
    device: dict = dataclasses.field(default_factory=dict)
    no_device: str = "nobody looked for one"  # why; empty: there is one
    cublas: str = ""  # the folder of cuBLAS

    def program(self, name):
        return str(self.here / "bin" / name)

    def environment(self):
        """For programs of the pack: their own libraries, and cuBLAS where it was found."""
        environment = dict(os.environ)
        paths = [self.cublas, environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
        environment["BATON_SHARED_DATA"] = str(self.here / "data")
        return environment

    def seconds_left(self):
        return max(1.0, self.until - time.monotonic())

    def call(self, command, environment=None):
        """(exit code, output); code None: it ran past this part's limit."""
        self.log.write(f"\n$ {' '.join(command)}\n")
        self.log.flush()
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            try:
                code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False,
                                      env=environment or self.environment(), cwd=self.here,
                                      stdin=subprocess.DEVNULL,
                                      timeout=self.seconds_left()).returncode
            except subprocess.TimeoutExpired:
                code = None
            output.seek(0)
            text = output.read()
        self.log.write(text + f"\n[exit {code}]\n")
        self.log.flush()
        return code, text


def passed(summary, **more):
    return {"status": "passed", "summary": summary, **more}


def failed(summary, **more):
    return {"status": "failed", "summary": summary, **more}


def cannot(summary, **more):
    return {"status": "cannot", "summary": summary, **more}


def guarded(function, context):
    """What a part is ended by ends that part alone."""
    try:
        return function(context)
    except (OSError, subprocess.SubprocessError, ValueError, daemon_check.DaemonError) as error:
        return failed(f"{type(error).__name__}: {error}")


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was said"


# ---- the machine ---------------------------------------------------------------------------------


def cublas_folders(major):
    """Where the toolkit, and Python's NVIDIA packages, keep libraries."""
    folders = [os.path.join(os.environ[name], "lib64") for name in ("CUDA_HOME", "CUDA_PATH")
               if os.environ.get(name)]
    folders += sorted(glob.glob("/usr/local/cuda*/lib64"))
    folders += sorted(glob.glob("/usr/local/cuda*/targets/x86_64-linux/lib"))
    folders += ["/usr/lib/x86_64-linux-gnu"]
    for path in sys.path:
        folders += sorted(glob.glob(os.path.join(path, "nvidia", "*", "lib")))
    return [folder for folder in folders
            if os.path.isfile(os.path.join(folder, f"libcublasLt.so.{major}"))]


def machine(context):
    major = (context.here / "cuda_major").read_text(encoding="utf-8").strip()
    folders = cublas_folders(major)
    context.cublas = folders[0] if folders else ""
    if shutil.which("nvidia-smi"):
        context.call(["nvidia-smi"])
    code, text = context.call([context.program("bench_gpu"), "--describe"])
    if code == NO_DEVICE:
        context.no_device = last_line(text)
        return cannot(context.no_device, cublas=context.cublas)
    if code != 0:
        context.no_device = f"bench_gpu --describe ended with {code}"
        return failed(last_line(text), cublas=context.cublas)
    context.device = json.loads(last_line(text))
    context.no_device = ""
    where = f"cuBLAS in {context.cublas}" if folders else f"no libcublasLt.so.{major} was found"
    return passed(f"{context.device['device']}, {context.device['detail']}; {where}",
                  device=context.device, cublas=context.cublas)


# ---- tests ---------------------------------------------------------------------------------------


def catch_result(context, command):
    """The verdict of a Catch2 program."""
    if context.no_device:
        return cannot(context.no_device)
    code, text = context.call(command)
    if code == NO_DEVICE:
        return cannot(last_line(text))
    skipped = text.count("SKIPPED:")
    if code is None:
        return failed("ran past its limit")
    if code != 0:
        cases = re.findall(r"^test cases:.*$", text, re.MULTILINE)
        return failed(cases[-1] if cases else f"exit code {code}: {last_line(text)}")
    summary = last_line(text)
    if skipped:
        return cannot(f"{summary}; but {skipped} skipped for want of data")
    return passed(summary)


def kernel_tests(context):
    return catch_result(context, [context.program("cuda_kernels_device_test")])


def executor_tests(context):
    return catch_result(context, [context.program("exec_gpu_device_test")])


# Small sizes, and kernels that use shared memory in every way that there is.
SANITIZED = {"memcheck": "*", "racecheck": "*links*,*prefill*,*rows of prompts*"}


def sanitizer(context):
    if context.no_device:
        return cannot(context.no_device)
    tool = shutil.which("compute-sanitizer") or next(
        iter(glob.glob("/usr/local/cuda*/bin/compute-sanitizer")), None)
    if tool is None:
        return cannot("compute-sanitizer is not installed")
    said = []
    for kind, cases in SANITIZED.items():
        code, text = context.call([tool, "--tool", kind, "--error-exitcode", "86",
                                   context.program("cuda_kernels_device_test"), cases])
        if "not supported" in text or "Unable to" in text:
            return cannot(f"{kind} does not work on this machine")
        if code is None:
            return cannot(f"{kind} ran past the limit; before that: {', '.join(said) or 'nothing'}")
        found = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", text)
        if code != 0:
            return failed(f"{kind}: {found[-1] if found else last_line(text)}")
        said.append(f"{kind}: {found[-1].split(': ', 1)[1] if found else 'no errors'}")
    return passed("; ".join(said))


# ---- figures -------------------------------------------------------------------------------------


def bench(context):
    if context.no_device:
        return cannot(context.no_device)
    path = context.out / "bench.json"
    commit = (context.here / "commit").read_text(encoding="utf-8").strip()
    code, text = context.call([context.program("bench_gpu"), "--json", str(path),
                               "--commit", commit])
    figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    # The table is what follows the last empty line.
    table = text.rstrip().split("\n\n")[-1].splitlines() if code is not None else []
    bars = list(figures.get("bars", {}).values())
    summary = f"{bars.count('met')} bars met, {bars.count('missed')} missed, " \
              f"{len(figures.get('absent', {}))} figures absent"
    if figures.get("void"):
        summary += f"; VOID: {figures['void']}"
    if code is None:
        return failed("ran past its limit; " + summary, table=table)
    if code == 0:
        return passed(summary, table=table)
    if code == 3:
        return cannot(summary, table=table)
    return failed(summary if code == 1 else f"exit code {code}: {last_line(text)}", table=table)


def tune(context):
    if context.no_device:
        return cannot(context.no_device)
    path = context.out / "tune.json"
    code, text = context.call([context.program("bench_gpu"), "--tune", str(path)])
    print(text)
    if code == 0:
        return passed(f"figures are in {path}")
    return failed("ran past its limit" if code is None else last_line(text))


def torch_peer(context):
    if context.no_device:
        return cannot(context.no_device)
    code, text = context.call([sys.executable, str(context.here / "torch_peer.py")],
                              environment=dict(os.environ))  # it brings its own cuBLAS
    if code == NO_DEVICE:
        return cannot(last_line(text))
    if code != 0:
        return failed("ran past its limit" if code is None else last_line(text))
    figures = json.loads(last_line(text))
    return passed(", ".join(f"{name} {value:.1f}" for name, value in figures.items()),
                  figures=figures)


# ---- the daemon ----------------------------------------------------------------------------------


def daemon(context):
    if context.no_device:
        return cannot(context.no_device)
    with tempfile.TemporaryDirectory(prefix="baton-gpu-") as folder:
        figures = daemon_check.run(context, pathlib.Path(folder))
    return passed(", ".join(f"{name} {value}" for name, value in figures.items()), figures=figures)
