#!/usr/bin/python3
"""Runs a module's tests on its netlist: yosys' UltraScale+ cells instead of the RTL.

    netlist_test.py NETLIST BUILD_FOLDER    a key of NETLISTS

The same programs and so the same vectors as of the RTL. Shows that what is synthesised computes
what was written, cycle by cycle; no wires, no timing.
"""

import os
import re
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import area_test  # noqa: E402

# A module with parameters, as the test that runs it calls what is verilated.
NETLISTS = {
    "gemv_lane": ("gemv_lane", {}, "Vgemv_lane", "gemv_lane_test.cc"),
    "distance_engine_32": ("distance_engine", {"LANES": 32}, "Vdistance_engine_32",
                           "distance_engine_32_test.cc"),
    "distance_engine_64": ("distance_engine", {"LANES": 64}, "Vdistance_engine_64",
                           "distance_engine_64_test.cc"),
}
# What block RAMs hold at power-up, which no module reads.
POWER_UP = ([f"INIT_{i:02X}" for i in range(64)] + [f"INITP_{i:02X}" for i in range(8)] +
            ["INIT_A", "INIT_B"])
MAIN = "#define CATCH_CONFIG_MAIN\n#include <catch2/catch.hpp>\n"


def call(what, command, folder):
    begin = time.time()
    result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{what}: {' '.join(command[:4])} ... failed:\n{result.stdout[-4000:]}")
    print(f"{what}: {time.time() - begin:.0f} s", flush=True)
    return result.stdout


def write_netlist(module, parameters, path, folder):
    sources = area_test.load_budgets()["modules"][module]["sources"]
    files = " ".join(os.path.join(area_test.RTL, source) for source in sources)
    given = " ".join(f"-set {name} {value}" for name, value in parameters.items())
    script = [f"read_verilog -sv {files}"]
    if given:
        script.append(f"chparam {given} {module}")
    script.append(f"{area_test.SYNTHESIS} {module}")
    script += [f"setparam -unset {name} t:RAMB18E2" for name in POWER_UP]
    # A wire for each bit: those of a word that depend on one another are no loop.
    script += ["splitnets", f"rename -top {module}", f"write_verilog -noattr {path}"]
    call(f"synthesis of {module} {parameters}", ["yosys", "-q", "-p", "; ".join(script)], folder)
    # One piece of code for all of what is there 64 times.
    with open(path, encoding="utf-8") as file:
        netlist = file.read()
    netlist, count = re.subn(r"^(module top_cell\b[^;]*;)", r"\1 /*verilator no_inline_module*/",
                             netlist, flags=re.MULTILINE)
    if count != ("top_cells.sv" in sources):
        sys.exit(f"{module}: {count} modules top_cell in its netlist")
    with open(path, "w", encoding="utf-8") as file:
        file.write(netlist)


def write_cells(path):
    """yosys' models of cells, but for those of xcup_cells.v."""
    share = os.path.join(os.path.dirname(os.path.dirname(shutil.which("yosys"))), "share")
    with open(os.path.join(share, "yosys", "xilinx", "cells_sim.v"), encoding="utf-8") as file:
        cells, count = re.subn(r"^module CARRY4\b.*?^endmodule", "", file.read(),
                               flags=re.MULTILINE | re.DOTALL)
    if count != 1:
        sys.exit(f"yosys has {count} models of CARRY4")
    with open(path, "w", encoding="utf-8") as file:
        file.write(cells)


def main():
    name, folder = sys.argv[1:]
    for tool in ("yosys", "verilator"):
        if shutil.which(tool) is None:
            print(f"SKIPPED: {tool} not found, the netlist of {name} is NOT tested "
                  f"(apt install {tool})")
            sys.exit(77)
    folder = os.path.join(os.path.abspath(folder), f"netlist_{name}")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    here = os.path.dirname(os.path.abspath(__file__))
    module, parameters, prefix, test = NETLISTS[name]
    cells = os.path.join(folder, "cells.v")
    write_cells(cells)
    netlist = os.path.join(folder, f"{prefix}.v")
    write_netlist(module, parameters, netlist, folder)
    call(f"{prefix} verilated and compiled",
         ["verilator", "--cc", "--build", "-j", "2", "-O3", "-Wno-fatal", "-Wno-lint",
          "--output-split", "20000", "--output-split-cfuncs", "2000",
          "-MAKEFLAGS", "OPT_FAST=-O1 OPT_SLOW=-O0", "--top-module", module,
          "--prefix", prefix, "--Mdir", prefix, netlist, cells,
          os.path.join(here, "xcup_cells.v")], folder)
    with open(os.path.join(folder, "main.cc"), "w", encoding="utf-8") as file:
        file.write(MAIN)
    root = call("verilator's folder", ["verilator", "--getenv", "VERILATOR_ROOT"], folder).strip()
    runtime = [os.path.join(root, "include", source)
               for source in ("verilated.cpp", "verilated_threads.cpp")]
    call("the test compiled",
         ["g++", "-std=c++20", "-O1", "-o", "netlist_test", f"-I{area_test.ROOT}",
          f"-I{root}/include", f"-I{prefix}", "main.cc", os.path.join(here, test),
          f"{prefix}/{prefix}__ALL.a", *runtime, "-pthread", "-latomic"], folder)
    print(call("the test", ["./netlist_test"], folder)[-2000:])


if __name__ == "__main__":
    main()
