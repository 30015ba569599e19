#!/usr/bin/python3
"""What the FPGA's kernels show without a card: exactness, area, agreement, and the cycle model.

Runs the tests that measure these, and reads the figures that they print: of several the worst one.
No figure is a time, and none is of a card. Where a test fails, or a figure misses its bar, so does
this.
"""

import argparse
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "fpga_kernels", "rtl"))

import area_test  # noqa: E402
from bench_report import Report  # noqa: E402

CARD = "U55C"  # whose share the area is
# Figure: which of several is the worst, its unit, and the bar it has to meet: at least, where the
# worst is the least, else at most.
FIGURES = {
    "rtl.exact_share": (min, "of queries and products", 1),
    # A beat a cycle, and what begins and ends a query.
    "rtl.cycles_per_vector": (max, "768 dimensions, 64 lanes", 768 / 64 * 1.02),
    "hnsw.same_order_share": (min, "of queries", 1),
    "decode.top1_agreement": (min, "of steps", 0.95),
    "decode.logit_cosine": (min, "over all steps", 0.999),
    "model.cycle_error": (max, "of the RTL's cycles", 0.05),
}
# Program, and the cases that are enough for a tiny run; None: not in one.
PROGRAMS = [
    ("fpga_rtl_distance_engine_test", "*"),
    ("fpga_rtl_gemv_lane_test", "*"),
    ("fpga_rtl_cycle_model_test", "*"),
    ("exec_fpga_graph_image_test", "*"),
    ("fpga_decode_test", "a small decoder*"),
    ("exec_fpga_token_program_test", None),
    ("exec_fpga_executor_test", None),
    ("exec_fpga_search_test", None),
    ("exec_fpga_wide_layer_test", None),
]


def figures_of(text):
    """[(name, value)] of the lines `figure NAME VALUE`."""
    lines = (line.split() for line in text.splitlines() if line.startswith("figure "))
    return [(name, float(value)) for _, name, value in lines]


def run(program, cases):
    """What it prints, and whether all of it passed."""
    command = [program] + ([cases] if cases != "*" else [])
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    for line in result.stdout.splitlines():
        if line.startswith(("figure ", "SKIPPED")) or " top-1 " in line:
            print(f"  {os.path.basename(program)}: {line}", flush=True)
    if result.returncode != 0:
        print(result.stdout[-3000:] + result.stderr[-1000:])
    return result.stdout, result.returncode == 0


def meets(report, figure, value, unit, worst, bar):
    """Adds the figure, and says whether it meets its bar."""
    met = value >= bar if worst is min else value <= bar
    bound = f"{'at least' if worst is min else 'at most'} {bar:g}"
    report.add(figure, value, f"{unit}; {bound}{'' if met else ': MISSED'}")
    return met


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="where the tests' programs are")
    parser.add_argument("--json", default="")
    parser.add_argument("--commit", default="")
    parser.add_argument("--seed", type=int, default=1, help="of nothing: the tests have their own")
    parser.add_argument("--tiny", action="store_true", help="without area and long decodes")
    args = parser.parse_args()
    report = Report()
    found = {}
    good = True
    for name, tiny_cases in PROGRAMS:
        cases = tiny_cases if args.tiny else "*"
        if cases is None:
            continue
        text, passed = run(os.path.join(args.bin, name), cases)
        good = good and passed
        for figure, value in figures_of(text):
            found.setdefault(figure, []).append(value)
    for figure, (worst, unit, bar) in FIGURES.items():
        if figure not in found:
            print(f"no test printed {figure}")
            good = False
            continue
        good = meets(report, figure, worst(found[figure]), unit, worst, bar) and good
    if not args.tiny and shutil.which("yosys") is None:
        print("yosys not found, no figure of area (apt install yosys)")
        good = False
    elif not args.tiny:
        bar = area_test.load_budgets()["card_share_max"]
        for what, share in area_test.card_shares(CARD).items():
            good = meets(report, f"area.{what}_share", share,
                         f"of a {CARD}, 24 GEMV and 16 search lanes", max, bar) and good
    report.write(args)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
