#!/usr/bin/env python3
"""What of deploy/fpga needs neither Vitis nor a card: the makefile's plan, smoke on the emulation.

    deploy_test.py PROGRAMS    the folder of fpga_xrt_*_test and fpga_emulation
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy/fpga"
PROGRAMS = pathlib.Path(sys.argv.pop() if len(sys.argv) > 1 else ROOT / "build/release/bin")


# Prints what is called.
VIVADO = """
namespace eval ipx {{}}
foreach name {{create_project add_files set_property current_fileset update_compile_order
  get_property close_project package_xo ipx::package_project ipx::unload_core
  ipx::edit_ip_in_project ipx::current_core ipx::infer_bus_interface ipx::get_ports
  ipx::get_bus_interfaces ipx::associate_bus_interfaces ipx::create_xgui_files
  ipx::update_checksums ipx::check_integrity ipx::save_core}} {{
  proc ::$name {{args}} [string map [list NAME $name] {{
    puts "CALLS NAME [join $args]"
    switch NAME {{
      ipx::current_core {{return core}}
      get_property {{return {{in_tdata labels_tdata out_tdata}}}}
    }}
    return {{}}
  }}]
}}
set argv [list distance_engine {out}/x.xo {out}/temp top_cells.sv distance_engine.sv]
set argc [llength $argv]
source {script}
"""


def make(*arguments):
    return subprocess.run(["make", "-C", str(DEPLOY), *arguments], capture_output=True, text=True)


def smoke(*arguments, **environment):
    return subprocess.run([str(DEPLOY / "smoke"), *arguments], capture_output=True, text=True,
                          env={**os.environ, **environment}, timeout=200)


class Makefile(unittest.TestCase):
    def test_every_kernel_is_compiled_and_linked(self):
        kernels = {path.stem for path in (ROOT / "fpga_kernels/hls").glob("*.cc")} - {"dataflow"}
        for card, target in [("u55c", "hw"), ("u250", "hw_emu")]:
            with tempfile.TemporaryDirectory() as out:
                plan = make("-n", f"CARD={card}", f"TARGET={target}", f"OUT={out}")
            self.assertEqual(plan.returncode, 0, plan.stderr)
            compiled = set(re.findall(r" -c -k (\w+) ", plan.stdout))
            self.assertEqual(compiled, kernels)
            link = next(line for line in plan.stdout.split("\n") if "--link" in line)
            self.assertIn(f"--config {card}.cfg", link)
            self.assertIn(f"-t {target} --platform xilinx_{card}_", link)
            for kernel in kernels:
                self.assertIn(f"/{kernel}.xo", link)
            self.assertIn("--add-section USER_METADATA:RAW:", plan.stdout)

    def test_a_twin_in_rtl_takes_the_place_of_hls(self):
        with tempfile.TemporaryDirectory() as out:
            plan = make("-n", f"OUT={out}", "RTL=gemv_lane distance_engine")
        self.assertEqual(plan.returncode, 0, plan.stderr)
        text = plan.stdout.replace("\\\n", "")
        packaged = re.findall(r"package_rtl\.tcl\s+-tclargs (\w+) (\S+) \S+ (.+)", text)
        self.assertEqual({name for name, _, _ in packaged}, {"gemv_lane", "distance_engine"})
        compiled = re.findall(r" -c -k (\w+) ", text)
        link = next(line for line in text.split("\n") if "--link" in line)
        self.assertIn("--config u55c.cfg", link)
        for name, xo, sources in packaged:
            self.assertNotIn(name, compiled)
            self.assertIn(f" {xo}", link)
            for source in sources.split():
                self.assertTrue((DEPLOY / source).is_file(), source)
            with open(DEPLOY / sources.split()[-1], encoding="utf-8") as file:
                self.assertIn(f"module {name} ", file.read())
        self.assertIn("may name gemv_lane", make("-n", "RTL=hnsw_search").stderr)

    # Vivado's commands do nothing here; Tcl's are those of yosys.
    @unittest.skipUnless(shutil.which("yosys"), "no yosys, whose Tcl runs the script")
    def test_the_script_packages_each_stream_of_a_module(self):
        with tempfile.TemporaryDirectory() as out:
            script = pathlib.Path(out) / "run.tcl"
            script.write_text(VIVADO.format(out=out, script=DEPLOY / "package_rtl.tcl"))
            run = subprocess.run(["yosys", "-c", str(script)], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        called = [line[6:] for line in run.stdout.split("\n") if line.startswith("CALLS ")]
        self.assertEqual([line for line in called if line.startswith("package_xo")],
                         [f"package_xo -xo_path {out}/x.xo -kernel_name distance_engine "
                          f"-ip_directory {out}/temp/ip -ctrl_protocol ap_ctrl_none"])
        for stream in ("in", "labels", "out"):
            self.assertIn(f"ipx::infer_bus_interface {stream}_tdata {stream}_tvalid "
                          f"{stream}_tready xilinx.com:interface:axis_rtl:1.0 core", called)
            self.assertIn(f"ipx::associate_bus_interfaces -busif {stream} -clock ap_clk core",
                          called)

    def test_the_contract_is_the_one_of_the_header(self):
        with tempfile.TemporaryDirectory() as out:
            made = make(f"OUT={out}", f"{out}/contract.txt")
            self.assertEqual(made.returncode, 0, made.stderr)
            text = (pathlib.Path(out) / "contract.txt").read_text()
        self.assertRegex(text, r"^baton fpga contract [1-9][0-9]*\n$")

    def test_wrong_words_are_refused(self):
        self.assertIn("there are u55c and u250", make("-n", "CARD=u280").stderr)
        self.assertIn("must be hw or hw_emu", make("-n", "TARGET=sw_emu").stderr)


class Smoke(unittest.TestCase):
    def test_all_kernels_pass_on_the_emulated_card(self):
        emulation = PROGRAMS / "fpga_emulation"
        if not (emulation / "emulated.xclbin").exists():
            self.skipTest("no emulated card was built")
        result = smoke(str(emulation / "emulated.xclbin"), str(PROGRAMS),
                       XILINX_XRT=str(emulation), XRT_INI_PATH=str(emulation / "xrt.ini"),
                       XCL_EMULATION_MODE="hw_emu")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(result.stdout.count("All tests passed"), 3, result.stdout)

    def test_what_it_lacks_is_named(self):
        self.assertEqual(smoke().returncode, 2)
        missing = smoke("nothing.xclbin", XILINX_XRT="/nowhere")
        self.assertEqual(missing.returncode, 3)
        self.assertIn("nothing.xclbin", missing.stderr)
        unset = smoke(str(DEPLOY / "smoke"), XILINX_XRT="")
        self.assertEqual(unset.returncode, 3)
        self.assertIn("XILINX_XRT", unset.stderr)


if __name__ == "__main__":
    unittest.main()
