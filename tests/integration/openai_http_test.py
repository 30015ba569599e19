#!/usr/bin/python3
"""OpenAI's HTTP API of the real daemon with Python's own http.client: answers, streams, errors, and
clients that misbehave. Needs no package."""

import argparse
import base64
import http.client
import json
import os
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.dont_write_bytecode = True
import baton_client  # noqa: E402
import gguf_chat  # noqa: E402

SECONDS_MAX = 60
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
PENDING_BYTES_MAX = 65536
BODY_BYTES_MAX = 1 << 20
USED = 'baton_kv_blocks{model="reader",space="host",state="used"}'
ARGS = None  # the command line


def make_model(folder):
    path = os.path.join(folder, "reader.gguf")
    with open(path, "wb") as file:
        file.write(gguf_chat.with_chat_template(
            os.path.join(ROOT, "deploy", "demo", "model", "baton-reader.gguf"), TEMPLATE))
    return path


def events_of(response):
    """The data of each server-sent event."""
    for line in response:
        if line.startswith(b"data: "):
            yield line[len(b"data: "):].strip().decode()


class OpenAiHttpTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="baton-openai-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.daemon = baton_client.Daemon(ARGS.batond, [
            "--model=reader=" + make_model(cls.folder.name),
            "--executors.gpu.enabled=off", "--executors.fpga.enabled=off",
            f"--server.stream_pending_bytes_max={PENDING_BYTES_MAX}",
            f"--server.http_body_bytes_max={BODY_BYTES_MAX}"])
        cls.addClassCleanup(cls.daemon.close)

    def send(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(*self.daemon.http, timeout=SECONDS_MAX)
        self.addCleanup(connection.close)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection.request(method, path, body,
                           headers or ({"Content-Type": "application/json"} if body else {}))
        return connection.getresponse()

    def ask(self, path, expected=200, headers=None, **fields):
        if headers is not None:
            headers = {"Content-Type": "application/json", **headers}
        response = self.send("POST", "/v1/" + path, fields, headers)
        answer = json.loads(response.read())
        self.assertEqual(response.status, expected, answer)
        return answer

    def chat(self, **fields):
        fields.setdefault("messages", [{"role": "user", "content": "How deep is the well?"}])
        fields.setdefault("temperature", 0)
        fields.setdefault("max_tokens", 12)
        return self.ask("chat/completions", **fields)

    def complete(self, **fields):
        fields.setdefault("prompt", "The well is")
        fields.setdefault("temperature", 0)
        return self.ask("completions", **fields)

    def stream(self, path, **fields):
        response = self.send("POST", "/v1/" + path, {"stream": True, "temperature": 0, **fields})
        self.assertEqual(response.status, 200)
        self.assertTrue(response.getheader("Content-Type").startswith("text/event-stream"))
        data = list(events_of(response))
        self.assertEqual(data[-1], "[DONE]")
        return [json.loads(item) for item in data[:-1]]

    def metric(self, series):
        response = self.send("GET", "/metrics")
        for line in response.read().decode().splitlines():
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def eventually(self, condition, message):
        end = time.monotonic() + SECONDS_MAX
        while not condition():
            self.assertLess(time.monotonic(), end, message)
            time.sleep(0.02)

    # ---- answers

    def test_models(self):
        listed = json.loads(self.send("GET", "/v1/models").read())
        self.assertEqual(listed["object"], "list")
        self.assertIn("reader", [model["id"] for model in listed["data"]])
        one = json.loads(self.send("GET", "/v1/models/reader").read())
        self.assertEqual((one["id"], one["object"], one["owned_by"]), ("reader", "model", "baton"))
        self.assertEqual(self.send("GET", "/v1/models/nobody").status, 404)

    def test_chat(self):
        answer = self.chat(model="reader")
        self.assertEqual(answer["object"], "chat.completion")
        self.assertEqual(answer["model"], "reader")
        choice = answer["choices"][0]
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertTrue(choice["message"]["content"])
        self.assertIn(choice["finish_reason"], ("stop", "length"))
        self.assertIsNone(choice["logprobs"])
        usage = answer["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        # The text is the template's, as a prompt without one.
        same = self.complete(prompt="user: How deep is the well?\n", max_tokens=12)
        self.assertEqual(same["choices"][0]["text"], choice["message"]["content"])

    def test_a_stream_is_the_whole_answer_in_pieces(self):
        whole = self.chat(max_tokens=24, ignore_eos=True, n=2)
        chunks = self.stream("chat/completions", max_tokens=24, ignore_eos=True, n=2,
                             messages=[{"role": "user", "content": "How deep is the well?"}],
                             stream_options={"include_usage": True})
        texts, reasons, roles = ["", ""], [None, None], [0, 0]
        for chunk in chunks[:-1]:
            self.assertEqual(chunk["object"], "chat.completion.chunk")
            self.assertEqual(chunk["id"], chunks[0]["id"])
            self.assertIsNone(chunk["usage"])
            choice = chunk["choices"][0]
            self.assertIsNone(reasons[choice["index"]])
            texts[choice["index"]] += choice["delta"].get("content", "")
            roles[choice["index"]] += "role" in choice["delta"]
            reasons[choice["index"]] = choice["finish_reason"]
        self.assertEqual(texts, [c["message"]["content"] for c in whole["choices"]])
        self.assertEqual(roles, [1, 1])
        self.assertEqual(reasons, ["length", "length"])
        self.assertEqual(chunks[-1]["choices"], [])
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], 48)

    def test_sampling_follows_seed_bias_and_stop(self):
        one, two, three = (self.complete(temperature=1.5, seed=seed, max_tokens=20,
                                         ignore_eos=True)["choices"][0]["text"]
                           for seed in (7, 7, 8))
        self.assertEqual(one, two)
        self.assertNotEqual(one, three)
        plain = self.complete(max_tokens=20, ignore_eos=True)["choices"][0]["text"]
        stop = plain[len(plain) // 2:][:3]
        stopped = self.complete(max_tokens=20, ignore_eos=True, stop=[stop])["choices"][0]
        self.assertEqual(stopped["text"], plain[:plain.index(stop)])
        self.assertEqual(stopped["finish_reason"], "stop")
        biased = self.complete(max_tokens=4, logit_bias={"300": 100}, logprobs=0, ignore_eos=True)
        tokens = biased["choices"][0]["logprobs"]["tokens"]
        self.assertEqual(len(set(tokens)), 1)

    def test_a_schema_is_kept(self):
        schema = {"type": "object", "properties": {"z": {"type": "boolean"},
                                                   "a": {"enum": ["x", "y"]}},
                  "required": ["z", "a"], "additionalProperties": False}
        for seed in range(4):
            text = self.chat(temperature=1, seed=seed, max_tokens=60, response_format={
                "type": "json_schema",
                "json_schema": {"name": "s", "schema": schema, "strict": True}}
            )["choices"][0]["message"]["content"]
            self.assertEqual(list(json.loads(text)), ["z", "a"])

    def test_log_probabilities(self):
        content = self.chat(logprobs=True, top_logprobs=3, max_tokens=5, ignore_eos=True)[
            "choices"][0]["logprobs"]["content"]
        self.assertEqual(len(content), 5)
        for token in content:
            self.assertEqual(len(token["top_logprobs"]), 3)
            self.assertAlmostEqual(token["logprob"], token["top_logprobs"][0]["logprob"], 5)
            self.assertEqual(bytes(token["bytes"]).decode(errors="replace"), token["token"])
        choice = self.complete(echo=True, logprobs=2, max_tokens=3, ignore_eos=True)["choices"][0]
        self.assertTrue(choice["text"].startswith("The well is"))
        logprobs = choice["logprobs"]
        self.assertIsNone(logprobs["token_logprobs"][0])
        self.assertTrue(all(value < 0 for value in logprobs["token_logprobs"][1:]))
        self.assertEqual(len({len(logprobs[key]) for key in logprobs}), 1)
        for token, offset in zip(logprobs["tokens"], logprobs["text_offset"]):
            self.assertEqual(choice["text"][offset:offset + len(token)], token)

    def test_several_prompts_and_tokens(self):
        answer = self.complete(prompt=["The well", "The mill"], n=2, max_tokens=4, ignore_eos=True)
        self.assertEqual([c["index"] for c in answer["choices"]], [0, 1, 2, 3])
        self.assertEqual(answer["choices"][0]["text"], answer["choices"][1]["text"])
        self.assertEqual(answer["usage"]["completion_tokens"], 16)
        self.complete(prompt=[5, 6, 7], max_tokens=2)
        self.complete(prompt=[[5, 6], [7]], max_tokens=2)

    def test_cached_tokens_are_reported(self):
        prompt = "word " * 200
        self.complete(prompt=prompt, max_tokens=1)
        usage = self.complete(prompt=prompt, max_tokens=1)["usage"]
        self.assertGreater(usage["prompt_tokens_details"]["cached_tokens"], 0)
        self.assertLess(usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"])

    def test_embeddings(self):
        answer = self.ask("embeddings", input=["a well", "a mill"])
        self.assertEqual([item["index"] for item in answer["data"]], [0, 1])
        packed = self.ask("embeddings", input="a well", encoding_format="base64")
        raw = base64.b64decode(packed["data"][0]["embedding"])
        values = struct.unpack(f"<{len(raw) // 4}f", raw)
        self.assertEqual(len(values), len(answer["data"][0]["embedding"]))
        for one, other in zip(values, answer["data"][0]["embedding"]):
            self.assertAlmostEqual(one, other, 6)
        self.assertEqual(self.ask("embeddings", 400, input="a", dimensions=7)["error"]["param"],
                         "dimensions")

    def test_hints_are_headers(self):
        error = self.ask("completions", 400, headers={"baton-platform": "toaster"}, prompt="a")
        self.assertIn("baton-platform", error["error"]["message"])
        self.ask("completions", headers={"baton-platform": "cpu"}, prompt="a", max_tokens=1)

    # ---- mistakes

    def test_mistakes_have_their_codes_and_fields(self):
        for status, code, param, fields in (
                (400, None, "temperature", {"prompt": "a", "temperature": "hot"}),
                (400, None, "prompt", {}),
                (404, "model_not_found", "model", {"prompt": "a", "model": "nobody"}),
                (400, "context_length_exceeded", "prompt", {"prompt": "word " * 3000}),
                (400, "context_length_exceeded", "prompt",
                 {"prompt": "word " * 3000, "stream": True})):
            error = self.ask("completions", status, **fields)["error"]
            self.assertEqual((error["code"], error["param"]), (code, param), error)
        json_type = {"Content-Type": "application/json"}
        self.assertEqual(self.send("POST", "/v1/completions", "{", json_type).status, 400)
        self.assertEqual(self.send("POST", "/v1/nothing", "{}", json_type).status, 404)
        self.assertEqual(self.send("GET", "/v1/completions").status, 405)
        self.assertEqual(
            self.send("POST", "/v1/completions", "{}", {"Content-Type": "text/plain"}).status, 415)

    def test_a_body_and_a_head_that_are_too_long_harm_nobody_else(self):
        response = self.send("POST", "/v1/completions", {"prompt": "x" * (BODY_BYTES_MAX + 1)})
        self.assertEqual(response.status, 413)
        self.assertIn("server.http_body_bytes_max", json.loads(response.read())["error"]["message"])
        with socket.create_connection(self.daemon.http, timeout=SECONDS_MAX) as flood:
            flood.sendall(b"GET /v1/models HTTP/1.1\r\n" + b"X: y\r\n" * 100_000)
            self.assertIn(b" 431 ", flood.recv(64))
        self.complete(max_tokens=2)

    # ---- clients that go or do not read

    def long_stream(self, connection, **fields):
        body = json.dumps({"prompt": "The well", "stream": True, "max_tokens": 1000, "n": 16,
                           "ignore_eos": True, **fields})
        connection.sendall((f"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n{body}").encode())

    def test_a_client_that_goes_ends_its_requests(self):
        cancelled = 'baton_requests_total{code="CANCELLED",method="OpenAI/Completions"}'
        for stream in (True, False):
            before = self.metric(cancelled)
            with socket.create_connection(self.daemon.http, timeout=SECONDS_MAX) as connection:
                self.long_stream(connection, stream=stream)
                if stream:
                    self.assertIn(b"200 OK", connection.recv(64))
                else:
                    self.eventually(lambda: self.metric(USED) > 0, "no work")
            self.eventually(lambda: self.metric(cancelled) == before + 1, "not cancelled")
            self.eventually(lambda: self.metric(USED) == 0, "KV is held")

    def test_a_reader_that_does_not_read_is_given_up_and_others_go_on(self):
        exhausted = ('baton_requests_total{code="RESOURCE_EXHAUSTED",'
                     'method="OpenAI/Completions"}')
        before = self.metric(exhausted)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.settimeout(SECONDS_MAX)
            slow.connect(self.daemon.http)
            self.long_stream(slow, logprobs=20)
            self.eventually(lambda: self.metric(USED) > 0, "no work")
            # Its requests are cancelled, and its reader is told once it reads.
            self.eventually(lambda: self.metric(USED) == 0, "still running")
            self.complete(max_tokens=4)
            tail = b""
            while b"[DONE]" not in tail:
                piece = slow.recv(1 << 20)
                self.assertTrue(piece, tail[-300:])
                tail = tail[-4096:] + piece
        self.assertIn(b"the reader is too slow", tail)
        self.assertEqual(self.metric(exhausted), before + 1)

    def test_many_at_once(self):
        failures = []

        def talk(index):
            try:
                for _ in range(3):
                    self.complete(prompt=f"The well {index}", max_tokens=5)
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=talk, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


def main():
    global ARGS  # pylint: disable=global-statement
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batond", required=True)
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
