"""Line coverage of cuda_kernels on the host runtime, as its tests reach it.

usage: coverage.py BUILD_DIR TEST...

Runs tests that are linked with baton_cuda_kernels_counted and prints, for each file of
cuda_kernels, how many of its lines ran. Only runs whose results are compared count: such tests run
each case once, with all barriers. Fails below 90 %, and where a test does. gcov is GCC's, of the
compiler that built the tests.
"""

import collections
import json
import pathlib
import subprocess
import sys

WANTED = 0.9


def run_tests(build, tests):
    failed = []
    for test in tests:
        done = subprocess.run([build / "bin" / test], stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            failed.append(test)
    return failed


def lines_of(build, kernels):
    """{file: {line: times it ran}}, over everything that was compiled from it."""
    lines = collections.defaultdict(lambda: collections.defaultdict(int))
    for counts in build.rglob("baton_cuda_kernels_counted.dir/**/*.gcda"):
        found = subprocess.run(["gcov", "--json-format", "--stdout", counts], check=True,
                               capture_output=True, cwd=build)
        for unit in found.stdout.splitlines():
            report = json.loads(unit)
            for file in report["files"]:
                path = (pathlib.Path(report["current_working_directory"]) / file["file"]).resolve()
                if not path.is_relative_to(kernels):
                    continue
                for line in file["lines"]:
                    lines[path.relative_to(kernels)][line["line_number"]] += line["count"]
    return lines


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    kernels = pathlib.Path(__file__).resolve().parents[2] / "cuda_kernels"
    for counts in build.rglob("*.gcda"):
        counts.unlink()
    failed = run_tests(build, sys.argv[2:])
    lines = lines_of(build, kernels)
    ran = total = 0
    for path in sorted(lines):
        its = lines[path]
        its_ran = sum(count > 0 for count in its.values())
        missed = [str(number) for number in sorted(its) if its[number] == 0]
        print(f"{100 * its_ran / len(its):6.1f} %  {its_ran:4} of {len(its):4}  {path}"
              + (f"  not: {' '.join(missed)}" if missed else ""))
        ran += its_ran
        total += len(its)
    if total == 0:
        sys.exit("coverage: no counts found; was baton_cuda_kernels_counted built by GCC?")
    print(f"{100 * ran / total:6.1f} %  {ran:4} of {total:4}  cuda_kernels")
    for test in failed:
        print(f"coverage: {test} failed")
    if failed or ran < WANTED * total:
        sys.exit(f"coverage: FAILED, {100 * WANTED:.0f} % wanted")


if __name__ == "__main__":
    main()
