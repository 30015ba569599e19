#!/usr/bin/env python3
"""Each of tidy's rules must catch what it is for, and leave good code alone."""

import os
import re
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import tidy  # pylint: disable=wrong-import-position

# A tree that breaks no rule.
GOOD = {
    "engine/README.md": "",
    "engine/base/README.md": "",
    "engine/base/ids.h": "#pragma once\n\n#include <cstdint>\n",
    "engine/base/CMakeLists.txt": "baton_library(baton_base SRCS clock.cc)\n",
    "engine/base/clock.h": "#pragma once\n",
    "tests/README.md": "",
    "tests/engine/base/CMakeLists.txt":
        "foreach(test clock ids)\n  baton_test(${test}_test SRCS ${test}_test.cc)\nendforeach()\n",
    "tests/engine/base/ids_test.cc": '#include "engine/base/ids.h"\n',
    "engine/base/clock.cc":
        '#include "engine/base/clock.h"\n\n#include <chrono>\n\n#include "engine/base/ids.h"\n'
        "// try { exit(1); } catch (...) {}\n"
        'const char* kText = "throw; getenv(\\"HOME\\")";\nint n = 1\'000\'000;\nchar c = \'"\';\n',
}

# (rule, path, text): what must be found when this file joins the good tree.
BAD = [
    ("arrows", "engine/base/x.h", '#pragma once\n#include "engine/rag/prompt.h"\n'),
    ("arrows", "engine/base/x.h", '#pragma once\n#include "server/app.h"\n'),
    ("arrows", "engine/base/x.h", '#pragma once\n#include "baton/v1/rag.pb.h"\n'),
    ("arrows", "engine/classify/x.h", '#pragma once\n#include "engine/schedule/step.h"\n'),
    ("arrows", "engine/vector/x.h", '#pragma once\n#include "engine/rag/chunker.h"\n'),
    ("arrows", "config/x.h", '#pragma once\n#include "engine/kv/block_pool.h"\n'),
    ("arrows", "engine/exec/x.h", '#pragma once\n#include "engine/vector/collection.h"\n'),
    ("arrows", "engine/exec/x.h", '#pragma once\n#include "cuda_kernels/rms_norm.h"\n'),
    ("arrows", "engine/exec/fpga/x.h", '#pragma once\n#include "fpga_kernels/scan.h"\n'),
    ("arrows", "cuda_kernels/x.h", '#pragma once\n#include "engine/base/ids.h"\n'),
    ("arrows", "cuda_kernels/x.h", '#pragma once\n#include "absl/status/status.h"\n'),
    ("arrows", "loadtest/x.h", '#pragma once\n#include "engine/kv/kv_pool.h"\n'),
    ("arrows", "engine/base/x.h", '#pragma once\n#include "tests/support/fake_clock.h"\n'),
    ("arrows", "engine/pantry/x.h", "#pragma once\n"),
    ("libraries", "engine/rag/x.h", "#pragma once\n#include <grpcpp/grpcpp.h>\n"),
    ("libraries", "server/x.h", "#pragma once\n#include <rocksdb/db.h>\n"),
    ("include-path", "engine/base/x.h", '#pragma once\n#include "ids.h"\n'),
    ("include-path", "engine/base/x.h", '#pragma once\n#include "../base/ids.h"\n'),
    ("own-header-first", "engine/base/ids.cc",
     '#include <vector>\n\n#include "engine/base/ids.h"\n'),
    ("own-header-first", "tests/engine/base/clock_test.cc", "#include <catch2/catch.hpp>\n"),
    ("pragma-once", "engine/base/x.h", "#ifndef X_H\n#define X_H\n#endif\n"),
    ("length", "engine/base/x.h", "#pragma once\n" + "int x;\n" * 1000),
    ("length-warning", "engine/base/x.h", "#pragma once\n" + "int x;\n" * 600),
    ("columns", "engine/base/x.h", "#pragma once\n// " + "x" * 98 + "\n"),
    ("trailing-space", "engine/base/x.h", "#pragma once \n"),
    ("todo", "engine/base/x.h", "#pragma once\n// TODO: later\n"),
    ("getenv", "server/x.cc", 'const char* home = std::getenv("HOME");\n'),
    ("hardware-if", "engine/exec/x.cc", "#ifdef BATON_HAVE_CUDA\n#endif\n"),
    ("hardware-if", "server/x.cc", "#if defined(USE_XRT)\n#endif\n"),
    ("exceptions", "engine/base/x.cc", "void F() {\n  try {\n  }\n}\n"),
    ("exceptions", "server/x.cc", "void F() { throw 1; }\n"),
    ("exit", "engine/kv/x.cc", "void F() { std::abort(); }\n"),
    ("exit", "engine/kv/x.cc", "void F() { exit(1); }\n"),
    ("readme", "engine/kv/x.h", "#pragma once\n"),
    ("dead-file", "engine/base/forgotten.cc", "int x;\n"),
    ("kernel-token", "cuda_kernels/x.h", "#pragma once\nvoid F() { K<<<1, 32>>>(); }\n"),
    ("kernel-token", "cuda_kernels/x.h", "#pragma once\n__shared__ float x[32];\n"),
    ("kernel-token", "cuda_kernels/x.h", '#pragma once\nvoid F() { asm("exit;"); }\n'),
    ("kernel-token", "cuda_kernels/x.h", "#pragma once\nint x = __dp4a(1, 2, 3);\n"),
    ("kernel-token", "cuda_kernels/x.h", "#pragma once\nvoid F() { cudaMalloc(&p, 1); }\n"),
    ("kernel-token", "cuda_kernels/x.h", "#pragma once\nvoid F() { cudaLaunchKernelExC(a); }\n"),
    ("kernel-early", "cuda_kernels/x.cu",
     "__global__ void K(A a) {\n  F(a);\n}\nint L(const A& a, const LaunchStream& s);\n"),
    ("kernel-early", "cuda_kernels/x.cu",
     "__global__ void K(A a) {\n  F(a);\n  AwaitEarlierKernels();\n}\n"
     "int L(const A& a, const LaunchStream& s);\n"),
    ("kernel-early", "cuda_kernels/x.cu",
     "template <typename T>\n__global__ void __launch_bounds__(32)\n    K(A a) {\n"
     "  AwaitEarlierKernels();\n}\nint L(const A& a, cudaStream_t s);\n"),
    ("kernel-twin", "cuda_kernels/arch/x.h", "#pragma once\n"),
    ("kernel-twin", "cuda_kernels/x.cu", "int x;\n"),
    ("kernel-twin", "cuda_kernels/x_sm90a.cu", "int x;\n"),
    ("kernel-hopper", "cuda_kernels/x.h", '#pragma once\n#include "cuda_kernels/arch/sm90a.h"\n'),
    # clock.cc and ids_test.cc are listed; a name that is merely like them is not
    ("dead-file", "tests/engine/base/units_test.cc", "int x;\n"),
    ("dead-file", "engine/base/fake_clock.cc", "int x;\n"),
]

# (path, text): allowed, though it looks like the above.
ALLOWED = [
    ("engine/engine.h", '#pragma once\n#include "engine/rag/chunker.h"\n'),
    ("config/config.h", '#pragma once\n#include "engine/kv/kv_options.h"\n'),
    ("server/app.h", '#pragma once\n#include "engine/engine.h"\n#include "config/config.h"\n'),
    ("engine/exec/x.h", '#pragma once\n#include "engine/vector/collection_view.h"\n'),
    ("engine/exec/gpu/x.h", '#pragma once\n#include "cuda_kernels/rms_norm.h"\n'),
    ("engine/exec/fpga/x.h", '#pragma once\n#include "fpga_kernels/scan_args.h"\n'),
    ("cuda_kernels/launch.h", "#pragma once\nvoid F() { cudaLaunchKernelEx(c, k); }\n"),
    ("cuda_kernels/x.h", "#pragma once\n// no <<<, no asm\n"),
    ("cuda_kernels/arch/sm90a.h", '#pragma once\nvoid F() { asm("exit;"); }\n'),
    ("cuda_kernels/x_sm90a.h", '#pragma once\n#include "cuda_kernels/arch/sm90a.h"\n'),
    ("tests/engine/base/x.h", '#pragma once\n#include "server/app.h"\n// TODO(#12): more\n'),
    ("engine/base/x.h", "#pragma once\nvoid F() { transfer->abort(); }\n"),
    ("engine/base/x.h", "#pragma once\n// " + "\u00e9" * 97 + "\n"),
]


def rules_broken(path, text):
    """The rules that this file breaks in the good tree; READMEs asked for elsewhere aside."""
    files = dict(GOOD)
    files[path] = text
    return {rule for where, _, rule, _ in tidy.findings(files)
            if where == path or where.startswith(tidy.room_of(path) + "/README")}


class TidyTest(unittest.TestCase):
    def test_good_tree_breaks_no_rule(self):
        self.assertEqual(tidy.findings(GOOD), [])

    def test_each_rule_catches(self):
        for rule, path, text in BAD:
            with self.subTest(rule=rule, path=path, text=text):
                self.assertIn(rule, rules_broken(path, text))

    def test_every_rule_is_shown_catching(self):
        with open(tidy.__file__, encoding="utf-8") as file:
            source = file.read()
        rules = set(re.findall(r'yield [^"]*(?:"/README.md"[^"]*)?"([a-z-]+)"', source))
        self.assertEqual(rules, {rule for rule, _, _ in BAD})

    def test_allowed_is_left_alone(self):
        for path, text in ALLOWED:
            with self.subTest(path=path, text=text):
                self.assertLessEqual(rules_broken(path, text), {"readme"})

    def test_reads_a_tree_from_disk(self):
        with tempfile.TemporaryDirectory() as root:
            for path, text in GOOD.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            os.makedirs(os.path.join(root, "build"))
            with open(os.path.join(root, "build", "x.h"), "w", encoding="utf-8") as file:
                file.write("no rule looks here \n")
            self.assertEqual(sorted(tidy.read_tree(root)), sorted(GOOD))


if __name__ == "__main__":
    unittest.main()
