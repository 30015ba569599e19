#!/usr/bin/python3
"""The official openai package against the real daemon, unmodified: models, chat, streaming,
completions, embeddings, errors. Skipped where no Python at hand can import it: `./dev test`
installs it into build/python where pip works."""

import argparse
import os
import sys
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

ARGS = None  # the command line


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batond", required=True)
    parser.add_argument("--python", default="", help="another Python that may have the package")
    return parser.parse_known_args()


try:
    import openai
except ImportError:
    PYTHON = parse_arguments()[0].python
    if os.access(PYTHON, os.X_OK) and os.path.realpath(sys.prefix) != os.path.realpath(
            os.path.dirname(os.path.dirname(PYTHON))):
        os.execv(PYTHON, [PYTHON, *sys.argv])
    print("SKIPPED: no openai package for " + sys.executable)
    sys.exit(0)

import baton_client  # noqa: E402
import openai_http_test  # noqa: E402

MESSAGES = [{"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How deep is the well?"}]


class OpenAiPackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print("openai", openai.__version__)
        cls.folder = tempfile.TemporaryDirectory(prefix="baton-openai-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.daemon = baton_client.Daemon(ARGS.batond, [
            "--model=reader=" + openai_http_test.make_model(cls.folder.name),
            "--executors.gpu.enabled=off", "--executors.fpga.enabled=off"])
        cls.addClassCleanup(cls.daemon.close)
        host, port = cls.daemon.http
        cls.client = openai.OpenAI(base_url=f"http://{host}:{port}/v1", api_key="none",
                                   timeout=openai_http_test.SECONDS_MAX, max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def test_models(self):
        self.assertIn("reader", [model.id for model in self.client.models.list()])
        self.assertEqual(self.client.models.retrieve("reader").owned_by, "baton")

    def test_chat(self):
        answer = self.client.chat.completions.create(
            model="reader", messages=MESSAGES, max_completion_tokens=10, temperature=0,
            logprobs=True, top_logprobs=2, seed=1, n=2)
        self.assertEqual(len(answer.choices), 2)
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(len(answer.choices[0].logprobs.content[0].top_logprobs), 2)
        self.assertGreater(answer.usage.prompt_tokens, 0)
        self.assertGreaterEqual(answer.usage.prompt_tokens_details.cached_tokens, 0)

    def test_streaming(self):
        create = self.client.chat.completions.create
        whole = create(model="reader", messages=MESSAGES, max_tokens=16, temperature=0)
        text, usage, reason = "", None, None
        for chunk in create(model="reader", messages=MESSAGES, max_tokens=16, temperature=0,
                            stream=True, stream_options={"include_usage": True}):
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
                reason = chunk.choices[0].finish_reason or reason
            usage = chunk.usage or usage
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(reason, whole.choices[0].finish_reason)
        self.assertEqual(usage.completion_tokens, whole.usage.completion_tokens)

    def test_structured_output(self):
        # Room for all the white space that the schema's grammar lets a sampled answer have.
        answer = self.client.chat.completions.create(
            model="reader", messages=MESSAGES, max_tokens=400, response_format={
                "type": "json_schema", "json_schema": {"name": "answer", "schema": {
                    "type": "object", "properties": {"deep": {"type": "boolean"}},
                    "required": ["deep"], "additionalProperties": False}}})
        self.assertRegex(answer.choices[0].message.content, r'"deep":\s*(true|false)')

    def test_completions(self):
        answer = self.client.completions.create(model="reader", prompt=["The well", "The mill"],
                                                max_tokens=5, temperature=0, logprobs=1, echo=True)
        self.assertEqual(len(answer.choices), 2)
        self.assertTrue(answer.choices[1].text.startswith("The mill"))
        self.assertIsNone(answer.choices[0].logprobs.token_logprobs[0])
        pieces = self.client.completions.create(model="reader", prompt="The well", max_tokens=5,
                                                temperature=0, stream=True)
        self.assertEqual("The well" + "".join(piece.choices[0].text for piece in pieces),
                         answer.choices[0].text)

    def test_embeddings(self):
        name = next(m.id for m in self.client.models.list() if m.id.startswith("lexical"))
        numbers = self.client.embeddings.create(model=name, input=["a well"],
                                                encoding_format="float")
        packed = self.client.embeddings.create(model=name, input=["a well"])  # base64 inside
        self.assertEqual(len(numbers.data[0].embedding), len(packed.data[0].embedding))
        for one, other in zip(numbers.data[0].embedding, packed.data[0].embedding):
            self.assertAlmostEqual(one, other, 6)

    def test_errors_are_the_packages_own(self):
        with self.assertRaises(openai.NotFoundError) as raised:
            self.client.chat.completions.create(model="nobody", messages=MESSAGES)
        self.assertEqual(raised.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.client.chat.completions.create(model="reader", messages=MESSAGES, temperature=101)
        self.assertEqual(raised.exception.param, "temperature")


if __name__ == "__main__":
    ARGS, REST = parse_arguments()
    unittest.main(argv=[sys.argv[0], *REST], verbosity=2)
