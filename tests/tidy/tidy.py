#!/usr/bin/env python3
"""The rules of the house that no compiler checks: who may include whom, and the rest.

    tidy.py [ROOT]    checks the tree, prints file:line: [rule] message, exits 1 on an error

Run by ctest as `tidy`; tidy_test.py shows each rule catching what it is for.
"""

import os
import re
import sys

# ---- the tables ----------------------------------------------------------------------------------

# Who may include whom. A room is a folder; an engine folder is its own room, and "engine" alone is
# engine/engine.*. Every room may include itself.
ENGINE_ROOMS = [
    "engine/base", "engine/request", "engine/classify", "engine/schedule", "engine/transfer",
    "engine/kv", "engine/model", "engine/exec", "engine/vector", "engine/rag", "engine/plan",
    "engine/placement",
    "engine/peer",
]
ARROWS = {
    "engine/base": [],
    "engine/request": ["engine/base"],
    "engine/classify": ["engine/request", "engine/base"],
    "engine/schedule": ["engine/request", "engine/base"],
    "engine/transfer": ["engine/kv", "engine/base"],
    "engine/kv": ["engine/base"],
    "engine/model": ["engine/request", "engine/base"],
    "engine/vector": ["engine/request", "engine/base"],
    "engine/exec": ["engine/kv", "engine/transfer", "engine/model", "engine/request",
                    "engine/base"],
    "engine/rag": ["engine/request", "engine/vector", "engine/model", "engine/base"],
    "engine/plan": ["engine/request", "engine/base"],
    "engine/placement": ["engine/request", "engine/base"],
    "engine/peer": ["engine/transfer", "engine/kv", "engine/model", "engine/base"],
    "engine": ENGINE_ROOMS,
    "config": ["engine/base"],
    "server": ["proto", "config", "engine"] + ENGINE_ROOMS,
    "loadtest": ["proto", "engine/base"],
    "cuda_kernels": [],
    "fpga_kernels": [],
    "fpga_emulation": ["fpga_kernels"],
    "proto": [],
}
# Narrower arrows: files matching the first may also include files matching the second.
NARROW_ARROWS = [
    (r"config/", r"engine/(\w+/)*\w+_options\.h$"),
    (r"engine/exec/", r"engine/vector/(\w+_view|view_\w+|graph_rows|ivf_math)\.h$"),
    (r"engine/exec/gpu/", r"cuda_kernels/"),
    (r"engine/exec/fpga/", r"fpga_kernels/\w+_args\.h$"),
    (r"engine/plan/", r"fpga_kernels/card_cycles\.h$"),
    (r"engine/exec/fpga/|server/", r"fpga_emulation/environment\.h$"),
]
# Libraries that stay behind one door: include prefix -> where it may be included.
LIBRARY_HOMES = {
    r"grpc(pp)?/|google/protobuf/": r"server/|loadtest/",
    r"yaml-cpp/": r"config/yaml_file\.cc|engine/base/yaml_(documents|reader)\.",
    r"CLI/": r"config/|server/|loadtest/",
    r"rocksdb/|hnswlib/|faiss/": r"engine/vector/",  # one source file each
    r"pcre2": r"engine/model/",
    r"utf8proc": r"engine/model/|engine/vector/word_split\.cc",
    r"nlohmann/": r"engine/model/grammar/json_schema\.cc|server/|loadtest/",
    r"spdlog/|prometheus/": r"engine/base/|server/",
    r"cuda|cublas": r"cuda_kernels/|engine/exec/gpu/",
    r"xrt/": r"engine/exec/fpga/|fpga_emulation/",
    r"hwloc": r"engine/placement/hwloc_topology\.cc",
    r"uc[pst]/": r"engine/peer/",
    r"openssl/": r"engine/peer/|server/",
    r"boost/": r"server/http_server\.cc",
    r"systemd/": r"server/service_manager\.cc",
}
# Kernels know the language and their own device, nothing else.
KERNEL_INCLUDES = {
    "cuda_kernels": r"<\w+(\.h)?>$|<(cub|cuda|cooperative_groups)/",
    "fpga_kernels": r"<\w+(\.h)?>$",
}

# Rules that the host runtime needs kernels to keep (cuda_kernels/README.md): what may not be
# written -> where it may all the same.
KERNEL_TOKENS = {
    r"<<<|\bcudaLaunch\w*\(": r"cuda_kernels/launch\.h$",
    r"\b__shared__\b": r"cuda_kernels/shared\.h$",
    r"\basm\b|\b__cvta_\w+|\b__dp[24]a\b|\b__CUDA_ARCH__\b": r"cuda_kernels/arch/",
    r"\b__activemask\b|\bcooperative_groups\b|\bvolatile\b": r"cuda_kernels/arch/",
    r"\b__constant__\b|\b__managed__\b|\bprintf\b": None,
    r"\bcuda(Malloc|Free|Memcpy|Memset|StreamSynchronize|DeviceSynchronize|Event)\w*\(": None,
}
KERNEL_ARCH = "cuda_kernels/arch/"
KERNEL_ARCH_TWINS = "tests/support/cuda_host/include/" + KERNEL_ARCH

# try, catch and throw: only where a throwing library is wrapped.
EXCEPTION_FILES = [
    "config/yaml_file.cc",                     # yaml-cpp
    "engine/base/yaml_reader.cc",              # yaml-cpp
    "engine/exec/fpga/plugin/xrt_guard.h",     # XRT
    "engine/vector/faiss_training.cc",         # FAISS
    "engine/vector/hnsw_graph.cc",             # hnswlib
    "loadtest/flags.cc",                       # CLI11
    "server/batonctl/collection_flags.cc",     # CLI11
    "server/batonctl/flags.cc",                # CLI11
]
# getenv: settings come from the configuration.
GETENV_FILES = r"tests/|fpga_emulation/shim/faults\.cc"  # XRT loads it, and hands it no setting
EXIT_FILES = ["engine/base/check.cc"]

LINES_WARN = 600
LINES_MAX = 1000
COLUMNS_MAX = 100

TREES = ["cmake", "config", "cuda_kernels", "deploy", "engine", "fpga_emulation", "fpga_kernels",
         "loadtest", "proto", "server", "tests"]
ROOT_FILES = ["dev", ".ci/run", "CMakeLists.txt"]
CXX = (".cc", ".cpp", ".h", ".cu", ".cuh")
SOURCES = CXX + (".proto", ".cmake", ".py", ".sh", ".sv", ".v")
NO_README = ["cmake"]

# ---- reading -------------------------------------------------------------------------------------


def read_tree(root):
    """{path relative to root: text} of every file that a rule looks at."""
    paths = [path for path in ROOT_FILES if os.path.isfile(os.path.join(root, path))]
    for tree in TREES:
        for folder, folders, names in os.walk(os.path.join(root, tree)):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            paths += [os.path.relpath(os.path.join(folder, name), root) for name in sorted(names)]
    files = {}
    for path in paths:
        name = os.path.basename(path)
        full_path = os.path.join(root, path)
        if name.endswith(SOURCES) or path in ROOT_FILES or name == "CMakeLists.txt" \
                or starts_with_shebang(full_path):
            with open(full_path, encoding="utf-8") as file:
                files[path] = file.read()
        elif name == "README.md":
            files[path] = ""
    return files


def starts_with_shebang(path):
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


CODE_NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/'                        # comments
    r'|R"([^()\\\s]{0,16})\(.*?\)\1"'            # raw strings
    r'|"(?:\\.|[^"\\\n])*"'                      # strings
    r"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'",    # characters, but not 1'000
    re.DOTALL)


def code_only(text):
    """The text with comments and literals blanked, line by line."""
    return CODE_NOISE.sub(lambda match: "\n" * match.group(0).count("\n"), text).split("\n")


INCLUDE = re.compile(r'^\s*#\s*include\s*(<[^>]+>|"[^"]+")')


def includes(text):
    """[(line number, '<vector>' or '"engine/base/ids.h"')]"""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        match = INCLUDE.match(line)
        if match:
            found.append((number, match.group(1)))
    return found


def room_of(path):
    parts = path.split("/")
    if parts[0] == "engine" and len(parts) > 2:
        return "/".join(parts[:2])
    if parts[0] in ("baton", "inference"):
        return "proto"  # generated: "baton/v1/rag.pb.h"
    return parts[0]


# ---- rules: each takes the tree and yields (path, line number, rule, message) --------------------


def check_arrows(files):
    for path, text in files.items():
        room = room_of(path)
        if not path.endswith(CXX) or room == "tests":
            continue
        if room not in ARROWS:
            yield path, 1, "arrows", f"{room} is no room of DESIGN's; see ARROWS in tidy.py"
            continue
        for number, include in includes(text):
            target = include[1:-1]
            target_room = room_of(target)
            if target_room == room:
                continue
            if target_room in ARROWS or target_room == "tests":
                allowed = target_room in ARROWS[room] or any(
                    re.match(source, path) and re.match(wanted, target)
                    for source, wanted in NARROW_ARROWS)
                if not allowed:
                    may = ", ".join(ARROWS[room]) or "no other room"
                    yield (path, number, "arrows",
                           f"{room} must not include {target}; {room} -> {may}")
            elif room in KERNEL_INCLUDES and not re.match(KERNEL_INCLUDES[room], include):
                yield (path, number, "arrows",
                       f"{room} knows its device and the standard library only, not {target}")


def check_libraries(files):
    for path, text in files.items():
        if not path.endswith(CXX) or path.startswith("tests/"):
            continue
        for number, include in includes(text):
            for library, homes in LIBRARY_HOMES.items():
                if re.match(library, include[1:-1]) and not re.match(homes, path):
                    yield (path, number, "libraries",
                           f"{include[1:-1]} may be included in {homes.replace('|', ', ')} only")


def check_include_paths(files):
    for path, text in files.items():
        if not path.endswith(CXX):
            continue
        for number, include in includes(text):
            target = include[1:-1]
            beside = os.path.normpath(os.path.join(os.path.dirname(path), target))
            if include[0] == '"' and target not in files and beside in files:
                yield path, number, "include-path", f'write "{beside}", from the root'


def own_header(path):
    """The header that a source file must include first, if there is such a header."""
    stem = os.path.splitext(path)[0]
    if path.startswith("tests/") and stem.endswith("_test"):
        return stem[len("tests/"):-len("_test")] + ".h"
    return stem + ".h"


def check_own_header_first(files):
    for path, text in files.items():
        if not path.endswith((".cc", ".cpp", ".cu")) or own_header(path) not in files:
            continue
        first = next(iter(includes(text)), (1, '"nothing"'))
        if first[1][1:-1] != own_header(path):
            yield path, first[0], "own-header-first", f'include "{own_header(path)}" first'


def check_pragma_once(files):
    for path, text in files.items():
        if not path.endswith((".h", ".cuh")) or path.endswith("-inl.h"):
            continue  # x-inl.h is code included once per instruction set
        if not re.search(r"^#pragma once$", text, re.MULTILINE):
            yield path, 1, "pragma-once", "a header needs #pragma once"


def check_length(files):
    for path, text in files.items():
        if os.path.basename(path) in ("CMakeLists.txt", "README.md"):
            continue
        count = text.count("\n")
        if count > LINES_MAX:
            yield path, count, "length", f"{count} lines, at most {LINES_MAX}: split it"
        elif count > LINES_WARN:
            yield path, count, "length-warning", f"{count} lines, better at most {LINES_WARN}"


def check_lines(files):
    for path, text in files.items():
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > COLUMNS_MAX:
                yield path, number, "columns", f"{len(line)} columns, at most {COLUMNS_MAX}"
            if line != line.rstrip():
                yield path, number, "trailing-space", "white space at the end of the line"
            marker = re.search(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))", line)
            if marker and not path.startswith("tests/tidy/"):
                yield path, number, "todo", f"{marker.group(1)} without its issue: TODO(#12)"


def check_code(files):
    for path, text in files.items():
        if not path.endswith(CXX):
            continue
        in_tests = path.startswith("tests/")
        in_engine = path.startswith("engine/")
        for number, line in enumerate(code_only(text), 1):
            if re.search(r"\bgetenv\b", line) and not re.match(GETENV_FILES, path):
                yield path, number, "getenv", "settings come from config/, not the environment"
            if (in_engine or path.startswith("server/")) and \
                    re.search(r"^\s*#\s*(el)?if.*(CUDA|XRT|GPU|FPGA)", line):
                yield (path, number, "hardware-if",
                       "presence of hardware is a loader's result, never an #if")
            if re.search(r"\btry\s*\{|\bcatch\s*\(|\bthrow\b", line) and not in_tests \
                    and path not in EXCEPTION_FILES:
                yield (path, number, "exceptions",
                       "only the wrapper of a throwing library, listed in tidy.py, does this")
            if in_engine and path not in EXIT_FILES and re.search(
                    r"(?<![\w.>])(exit|_exit|quick_exit|abort|terminate)\s*\(", line):
                yield path, number, "exit", "the engine never ends the process; return a Status"


def check_readmes(files):
    for room in sorted({room_of(path) for path in files if path.endswith(SOURCES)}):
        if room not in NO_README and room + "/README.md" not in files:
            yield room + "/README.md", 1, "readme", "a room needs a README.md of one page"


def names_file(cmake_list, name):
    """Whether a CMakeLists.txt names this file, outright or as "${x}_test.cc" in a loop."""
    if re.search(r"(?<![\w./])" + re.escape(name) + r"(?![\w.])", cmake_list):
        return True
    for before, after in re.findall(r"([\w./]*)\$\{\w+\}([\w./]*\.(?:cc|cpp|cu))\b", cmake_list):
        match = re.fullmatch(re.escape(before) + r"(\w+)" + re.escape(after), name)
        if match and re.search(r"\b" + match.group(1) + r"\b", cmake_list):
            return True
    return False


def check_dead_files(files):
    for path in files:
        if not path.endswith((".cc", ".cpp", ".cu")):
            continue
        folder = os.path.dirname(path)
        while folder:
            lists = files.get(folder + "/CMakeLists.txt", "")
            if names_file(lists, os.path.relpath(path, folder)):
                break
            folder = os.path.dirname(folder)
        else:
            yield path, 1, "dead-file", "no CMakeLists.txt above it names this file"


def check_early_launches(path, lines):
    """A launcher that takes a LaunchStream may launch early, so its kernels wait first."""
    text = "\n".join(lines)
    early = re.search(r"\bconst LaunchStream&", text) is not None
    for kernel in re.finditer(r"__global__[^{;]*\{\s*(AwaitEarlierKernels\(\);)?", text):
        if (kernel.group(1) is not None) != early:
            number = text.count("\n", 0, kernel.start()) + 1
            yield (path, number, "kernel-early",
                   "AwaitEarlierKernels(); comes first in kernels of launchers that take a "
                   "LaunchStream, and in no others")


def check_kernels(files):
    for path, text in files.items():
        if not path.startswith("cuda_kernels/") or not path.endswith(CXX):
            continue
        for number, line in enumerate(code_only(text), 1):
            for token, home in KERNEL_TOKENS.items():
                found = re.search(token, line)
                if found and not (home and re.match(home, path)):
                    yield (path, number, "kernel-token",
                           f"{found.group(0)} belongs in {home or 'no kernel'}; see its README.md")
        if path.endswith(".cu"):
            yield from check_early_launches(path, code_only(text))
        # What the host runtime cannot run stands beside a kernel that it can.
        alone = re.search(r"_sm90a\.\w+$|^" + KERNEL_ARCH + r"sm90a\.h$", path)
        if not alone and any(re.search(r"sm90a", include) for _, include in includes(text)):
            yield path, 1, "kernel-hopper", "only *_sm90a files may include what is for sm_90a"
        if path.startswith(KERNEL_ARCH):
            if not alone and KERNEL_ARCH_TWINS + path[len(KERNEL_ARCH):] not in files:
                yield path, 1, "kernel-twin", f"needs a twin in {KERNEL_ARCH_TWINS}"
        elif path.endswith(".cu"):
            stem = path[:-len(".cu")]
            beside = [stem.removesuffix("_sm90a") + ".cu"] if alone else []
            for twin in (stem + ".h", f"tests/{stem}_test.cc", *beside):
                if twin not in files:
                    yield path, 1, "kernel-twin", f"needs {twin}"


RULES = [check_arrows, check_libraries, check_include_paths, check_own_header_first,
         check_pragma_once, check_length, check_lines, check_code, check_readmes, check_dead_files,
         check_kernels]


def findings(files):
    return [finding for rule in RULES for finding in rule(files)]


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(
        os.path.dirname(os.path.abspath(__file__))))
    files = read_tree(root)
    found = findings(files)
    for path, line, rule, message in found:
        print(f"{path}:{line}: [{rule}] {message}")
    errors = sum(not rule.endswith("-warning") for _, _, rule, _ in found)
    print(f"tidy: {len(files)} files, {errors} errors, {len(found) - errors} warnings")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
