"""The packed daemon end to end, with random weights of a published shape: it starts with the GPU
required, and texts are generated, alone and many at once, all of them on the GPU."""

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import time

GB = 10**9
# name, bytes of its bf16 weights, and of device memory that it is chosen from on
SHAPES = [("8b", 16.1 * GB, 40 * GB), ("1b", 2.5 * GB, 8 * GB), ("tiny", 0.01 * GB, 0)]
TOKENS = 128
STREAMS = min(32, 2 * (os.cpu_count() or 1))  # each is a process of its own
PROMPT = "the art of the handoff " * 15


class DaemonError(Exception):
    """What the daemon did not do."""


def choose_shape(device_bytes, disk_bytes, host_bytes):
    """The largest that fits: on the device, twice on the host, whose CPU executor may keep a copy
    of its own, and on the disk."""
    for name, weights, device_min in SHAPES:
        if device_bytes >= device_min and disk_bytes >= 1.1 * weights and \
                host_bytes >= 2.2 * weights:
            return name
    raise DaemonError(f"no room for the smallest model: {disk_bytes} bytes on the disk")


def host_memory_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def wait_for(what, done, process, until):
    while not done():
        if process.poll() is not None:
            raise DaemonError(f"batond ended with {process.returncode} before {what}")
        if time.monotonic() > until:
            raise DaemonError(f"{what} took too long")
        time.sleep(0.05)


def read_documents(text):
    """JSON documents one after another."""
    documents = []
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:]
    return documents


class Client:
    def __init__(self, context, port_file, platform):
        ports = dict(line.split("=", 1) for line in port_file.read_text().splitlines())
        self.context = context
        self.platform = platform
        self.command = [context.program("batonctl"), "--server", ports["grpc"], "--json"]

    def call(self, *arguments):
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True,
                              check=False, timeout=self.context.seconds_left(),
                              env=self.context.environment())
        if done.returncode != 0:
            raise DaemonError(f"batonctl {' '.join(arguments)[:60]}: {done.stderr.strip()}")
        return read_documents(done.stdout)

    def generate(self, seed):
        """Seconds that one text took; all of its stages must have run on the platform."""
        begin = time.monotonic()
        documents = self.call("--platform", self.platform, "generate", f"{seed} {PROMPT}",
                              "--max-tokens", str(TOKENS), "--ignore-eos")
        seconds = time.monotonic() - begin
        finished = documents[-1]["finished"]
        generated = int(finished["generated_tokens"])
        if generated != TOKENS:
            raise DaemonError(f"{generated} tokens came, not {TOKENS}")
        ran_on = {stage["name"]: stage["route"]["platform"]
                  for stage in finished["timings"]["stages"]}
        for stage in ("prefill", "decode"):
            if ran_on.get(stage) != f"PLATFORM_{self.platform.upper()}":
                raise DaemonError(f"{stage} ran on {ran_on.get(stage)}, not the {self.platform}")
        return seconds


def check_devices(client):
    its = [device for device in client.call("devices")[0]["devices"]
           if device["platform"] == f"PLATFORM_{client.platform.upper()}"]
    if not its or not all(device["available"] for device in its):
        raise DaemonError(f"the {client.platform} is not among its devices: {its}")


def run(context, folder, platform="gpu", shape=None):
    """The figures; raises DaemonError."""
    shape = shape or choose_shape(context.device["memory_bytes"], shutil.disk_usage(folder).free,
                                  host_memory_bytes())
    model = folder / f"synthetic-{shape}.gguf"
    begin = time.monotonic()
    code, text = context.call([context.program("synthetic_model"), shape, "bf16", str(model)])
    if code != 0:
        raise DaemonError(f"writing {shape} weights: {text.strip() or code}")
    made_seconds = time.monotonic() - begin

    port_file = folder / "ports"
    port_file.unlink(missing_ok=True)
    command = [context.program("batond"), f"--data-dir={folder / 'data'}",
               "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0",
               f"--port-file={port_file}", f"--model=synthetic={model}", f"--require={platform}",
               "--kv.memory_mb=" + ("8192" if shape == "8b" else "512"),
               "--schedule.step_tokens_max=2048", "--schedule.prefill_chunk_tokens_max=2048"]
    context.log.write(f"\n$ {' '.join(command)}\n")
    context.log.flush()
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=context.log, stderr=context.log,
                          env=context.environment(), stdin=subprocess.DEVNULL) as process:
        try:
            wait_for("it was ready", port_file.exists, process, context.until)
            ready_seconds = time.monotonic() - begin
            client = Client(context, port_file, platform)
            check_devices(client)
            client.generate(0)  # warms up
            alone_seconds = client.generate(1)
            begin = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
                list(pool.map(client.generate, range(2, 2 + STREAMS)))
            together_seconds = time.monotonic() - begin
        except BaseException:
            process.kill()
            raise
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=max(5.0, min(40.0, context.seconds_left())))
        except subprocess.TimeoutExpired:
            process.kill()
            raise DaemonError("it did not end after SIGTERM") from None
    if code != 0:
        raise DaemonError(f"it ended with {code} after SIGTERM")
    os.remove(model)
    return {"shape": shape, "written_s": round(made_seconds, 1), "ready_s": round(ready_seconds, 1),
            "alone_tokens_per_s": round(TOKENS / alone_seconds, 1),
            f"{STREAMS}_streams_tokens_per_s": round(STREAMS * TOKENS / together_seconds, 1)}
