#!/usr/bin/python3
"""Runs a module's tests on its netlist: yosys' UltraScale+ cells instead of the RTL.

    netlist_test.py MODULE BUILD_FOLDER

The same programs and so the same vectors as of the RTL. Shows that what is synthesised computes
what was written, cycle by cycle; no wires, no timing.
"""

import os
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import area_test  # noqa: E402

# Of a module: the test, its cases, and which netlists it runs: verilated name and parameters.
TESTS = {
    "gemv_lane": ("gemv_lane_test.cc", "*", {"Vgemv_lane": {}}),
    "distance_engine": ("distance_engine_test.cc", "*",
                        {"Vdistance_engine_32": {"LANES": 32},
                         "Vdistance_engine_64": {"LANES": 64}}),
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
    script += [f"rename -top {module}", f"write_verilog -noattr {path}"]
    call(f"synthesis of {module} {parameters}", ["yosys", "-q", "-p", "; ".join(script)], folder)


def main():
    module, folder = sys.argv[1:]
    for tool in ("yosys", "verilator"):
        if shutil.which(tool) is None:
            print(f"SKIPPED: {tool} not found, the netlist of {module} is NOT tested "
                  f"(apt install {tool})")
            sys.exit(77)
    folder = os.path.join(os.path.abspath(folder), f"netlist_{module}")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    here = os.path.dirname(os.path.abspath(__file__))
    test, cases, netlists = TESTS[module]
    cells = os.path.join(os.path.dirname(os.path.dirname(shutil.which("yosys"))), "share", "yosys",
                         "xilinx", "cells_sim.v")
    includes = []
    archives = []
    for prefix, parameters in netlists.items():
        netlist = os.path.join(folder, f"{prefix}.v")
        write_netlist(module, parameters, netlist, folder)
        call(f"{prefix} verilated",
             ["verilator", "--cc", "--build", "-j", "2", "-O3", "-Wno-fatal", "-Wno-lint",
              "--top-module", module, "--prefix", prefix, "--Mdir", prefix, netlist, cells,
              os.path.join(here, "xcup_cells.v")], folder)
        includes += [f"-I{prefix}"]
        archives += [f"{prefix}/{prefix}__ALL.a"]
    with open(os.path.join(folder, "main.cc"), "w", encoding="utf-8") as file:
        file.write(MAIN)
    root = call("verilator's folder", ["verilator", "--getenv", "VERILATOR_ROOT"], folder).strip()
    runtime = [os.path.join(root, "include", name)
               for name in ("verilated.cpp", "verilated_threads.cpp")]
    call("the test compiled",
         ["g++", "-std=c++20", "-O1", "-o", "netlist_test", f"-I{area_test.ROOT}",
          f"-I{root}/include", *includes, "main.cc", os.path.join(here, test), *archives, *runtime,
          "-pthread", "-latomic"], folder)
    print(call("the test", ["./netlist_test", cases], folder)[-2000:])


if __name__ == "__main__":
    main()
