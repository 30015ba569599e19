#!/usr/bin/env python3
"""What can be proven without a device of the kernels for compute capability 9.0 alone.

usage: sm90a_budget.py NVCC

Compiles each and holds it against its budget: so many registers at most, not a byte spilled to
local memory, and PTX in which warpgroups multiply (wgmma), fed by the copy engine
(cp.async.bulk.tensor) where it is meant to be.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# file: registers a thread at most (65,536 among the threads of a block), and what the PTX contains.
BUDGETS = {
    "distance_top_k_sm90a": (168, ["wgmma.mma_async.sync.aligned.m64n128k16",
                                   "cp.async.bulk.tensor.2d", "mbarrier.try_wait", "setmaxnreg"]),
    "prefill_attention_sm90a": (168, ["wgmma.mma_async.sync.aligned.m64n128k16",
                                      "wgmma.mma_async.sync.aligned.m64n64k16",
                                      "mbarrier.try_wait", "setmaxnreg"]),
}


def compile_to(nvcc, name, kind, folder):
    """(the file's text or "", what the compiler said)."""
    out = pathlib.Path(folder) / f"{name}.{kind}"
    done = subprocess.run(
        [nvcc, "-std=c++20", "-O3", "-gencode=arch=compute_90a,code=sm_90a"
         if kind == "cubin" else "-arch=compute_90a", f"-{kind}", "-Xptxas=-v",
         "-Werror=all-warnings", f"-I{ROOT}", str(ROOT / "cuda_kernels" / f"{name}.cu"),
         "-o", str(out)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{name}: nvcc failed\n{done.stderr}")
    return out.read_text(encoding="utf-8") if kind == "ptx" else "", done.stderr


def complaints(name, report, ptx):
    registers_max, wanted = BUDGETS[name]
    found = []
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", report)]
    spills = [int(count) for count in re.findall(r"(\d+) bytes spill", report)]
    if not registers or not spills:
        found.append("the compiler reported no resources")
    elif max(registers) > registers_max:
        found.append(f"{max(registers)} registers, the budget is {registers_max}")
    if any(spills):
        found.append(f"{max(spills)} bytes spilled, the budget is 0")
    if "serialized" in report:
        found.append("the compiler serialises its products: " + report.strip())
    found += [f"the PTX has no {text}" for text in wanted if text not in ptx]
    print(f"{name}: {max(registers, default=0)} registers, {max(spills, default=0)} bytes spilled, "
          f"{ptx.count('wgmma.mma_async')} wgmma")
    return found


def main():
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((ROOT / "cuda_kernels").glob("*_sm90a.cu")):
            name = path.stem
            if name not in BUDGETS:
                sys.exit(f"{name} has no budget")
            _, report = compile_to(sys.argv[1], name, "cubin", folder)
            ptx, _ = compile_to(sys.argv[1], name, "ptx", folder)
            for complaint in complaints(name, report, ptx):
                print(f"{name}: {complaint}")
                failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
