"""What the benchmarks in Python share."""

import json
import os
import platform


class Report:
    """Figures by dotted name: a table as they come, and the JSON that every benchmark writes."""

    def __init__(self):
        self.figures = {}

    def add(self, name, value, unit):
        self.figures[name] = value
        print(f"{name:40} {value:12.3f} {unit}", flush=True)

    def write(self, args):
        if not args.json:
            return
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(": ", 1)[1].strip() for line in file
                     if line.startswith("model name")]
        report = {"figures": self.figures, "commit": args.commit, "seed": args.seed,
                  "machine": {"processor": names[0] if names else platform.machine(),
                              "cores": os.cpu_count()}}
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
            file.write("\n")
