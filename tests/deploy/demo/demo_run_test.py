#!/usr/bin/python3
"""The demo with a fixed draw of questions: as a newcomer runs it, answered by passages; and with
the bundled model, which must get some of them right."""

import argparse
import os
import re
import subprocess
import unittest

ROOT = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
RUN = os.path.join(ROOT, "deploy", "demo", "run")
MODEL = os.path.join(ROOT, "deploy", "demo", "model", "baton-reader.gguf")
SECONDS_MAX = 120


def run(bin_dir, *flags):
    done = subprocess.run([RUN, "--bin", bin_dir, "--seed", "1", *flags], capture_output=True,
                          text=True, timeout=SECONDS_MAX, check=False)
    return done.returncode, done.stdout, done.stderr


class Demo(unittest.TestCase):
    bin_dir = ""

    def test_with_the_bundled_model(self):
        code, out, err = run(self.bin_dir, "--model", MODEL)
        self.assertEqual(code, 0, out + err)
        self.assertIn("questions drawn by seed 1", out)
        verdict = re.search(
            r"PASSED: 11 questions; 10 have an answer in the documents: (\d+) cited, (\d+) of them "
            r"from the right one, (\d+) right; the one that has none was (\w+)", out)
        self.assertIsNotNone(verdict, out)
        cited, sourced, right = (int(verdict[i]) for i in (1, 2, 3))
        self.assertGreaterEqual(cited, sourced)
        self.assertGreaterEqual(sourced, right)
        self.assertGreaterEqual(right, RIGHT_MIN, out)
        self.assertRegex(out, r"baton-reader: \d+ prompt tokens, \d+ generated, ended by stop")

    def test_without_a_model_the_passages_answer(self):
        code, out, err = run(self.bin_dir)
        self.assertEqual(code, 0, out + err)
        self.assertIn("10 have an answer in the documents: 10 cited", out)
        self.assertIn("No text was generated", out)

    def test_a_wrong_flag_is_named(self):
        for flags, complaint in ((["--model", "/nonexistent.gguf"], "--model: cannot read"),
                                 (["--questions", "0"], "--questions must be"),
                                 (["--frob"], "unexpected argument: --frob")):
            code, _, err = run(self.bin_dir, *flags)
            self.assertEqual(code, 2, err)
            self.assertIn(complaint, err)


# Of the ten that seed 1 draws; what the model can do is deploy/demo/model/README.md's matter.
RIGHT_MIN = 1

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, help="where batond and batonctl are")
    arguments, rest = parser.parse_known_args()
    Demo.bin_dir = arguments.bin
    unittest.main(argv=["demo_run_test", *rest])
