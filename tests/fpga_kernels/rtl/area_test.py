#!/usr/bin/env python3
"""Synthesises a module for UltraScale+ by yosys and compares its area with the stored budget.

    area_test.py MODULE    of fpga_kernels/rtl/area_budget.json; exits 1 where it does not fit

Counts are of yosys, before placement: no clock, no wires, and not what Vivado would count.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
RTL = os.path.join(ROOT, "fpga_kernels", "rtl")

# What a cell takes, in LUTs that also hold memory and shift registers (UG574): of each LUT RAM as
# many as it has bits wide ports of 64.
LUTS = {
    "LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "LUT5": 1, "LUT6": 1, "LUT6_2": 1, "INV": 1,
    "SRL16E": 1, "SRLC32E": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8,
    "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM32X1S": 1, "RAM64X1S": 1,
}
OTHERS = {
    "FDRE": "ff", "FDSE": "ff", "FDCE": "ff", "FDPE": "ff", "DSP48E2": "dsp",
    "RAMB36E2": "bram36", "RAMB18E2": "bram18",
}
FREE = {"BUFG", "CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "GND", "VCC"}


# yosys 0.23 makes shift registers of flip-flops and loses their clock enable: without -nosrl
# fpga_netlist_* fails as soon as a stream waits. Modules stay, so that what is there 64 times is
# synthesised once.
SYNTHESIS = "synth_xilinx -family xcup -nosrl -noiopad -noclkbuf -top"


def synthesise(module, sources):
    """{"lut": .., "ff": .., "dsp": .., "bram36": .., "bram18": ..}"""
    files = " ".join(os.path.join(RTL, source) for source in sources)
    script = f"read_verilog -sv {files}; {SYNTHESIS} {module}; stat"
    result = subprocess.run(["yosys", "-p", script], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{module}: yosys failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    area = dict.fromkeys(["lut", "ff", "dsp", "bram36", "bram18"], 0)
    last_stat = result.stdout[result.stdout.rindex("Number of cells:"):]
    for cell, count in re.findall(r"^\s+([A-Z]\w+)\s+(\d+)$", last_stat, re.MULTILINE):
        if cell in LUTS:
            area["lut"] += LUTS[cell] * int(count)
        elif cell in OTHERS:
            area[OTHERS[cell]] += int(count)
        elif cell not in FREE:
            sys.exit(f"{module}: no area is known of {cell} ({count} of them)")
    return area


def load_budgets():
    with open(os.path.join(RTL, "area_budget.json"), encoding="utf-8") as file:
        return json.load(file)


def card_shares(card):
    """{"lut": share, "dsp": share} that all units take of a card, by synthesis now."""
    budgets = load_budgets()
    areas = {module: synthesise(module, budgets["modules"][module]["sources"])
             for module in budgets["card_units"]}
    return {what: sum(areas[module][what] * count
                      for module, count in budgets["card_units"].items()) / available
            for what, available in budgets["cards"][card].items()}


def main():
    module = sys.argv[1]
    if shutil.which("yosys") is None:
        print("SKIPPED: yosys not found, areas are NOT checked (apt install yosys)")
        sys.exit(77)
    budgets = load_budgets()
    budget = budgets["modules"][module]
    begin = time.time()
    area = synthesise(module, budget["sources"])
    print(f"{module}: {area} in {time.time() - begin:.0f} s")
    failed = False
    for what, count in area.items():
        limit = budget["area"][what]
        # A budget that is far too large is none.
        if not 0.9 * limit <= count <= limit:
            print(f"{module}: {count} {what}, the budget is {limit} and at least 9/10 of it used")
            failed = True
    for name, card in budgets["cards"].items():
        for what, available in card.items():
            used = sum(budgets["modules"][each]["area"][what] * count
                       for each, count in budgets["card_units"].items())
            share = used / available
            print(f"{name}: {used} of {available} {what}, {100 * share:.1f} %")
            if share > budgets["card_share_max"]:
                print(f"{name}: more {what} than a share of {budgets['card_share_max']}")
                failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
