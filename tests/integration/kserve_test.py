#!/usr/bin/python3
"""A KServe v2 client from nothing but its proto: metadata, ModelInfer and ModelStreamInfer, for a
language model and an embedder. Needs python3-grpcio and python3-protobuf."""

import argparse
import json
import os
import queue
import struct
import sys
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.dont_write_bytecode = True

try:
    import grpc
except ImportError:
    print("SKIPPED: no python3-grpcio for " + sys.executable)
    sys.exit(0)

import baton_client  # noqa: E402

CALL_SECONDS_MAX = 30
ARGS = None  # the command line


class KserveTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="baton-kserve-")
        cls.addClassCleanup(cls.folder.cleanup)
        baton_client.make_stubs(ARGS, cls.folder.name)
        from inference import kserve_v2_pb2, kserve_v2_pb2_grpc
        cls.pb = kserve_v2_pb2
        model = os.path.join(ROOT, "deploy", "demo", "model", "baton-reader.gguf")
        cls.daemon = baton_client.Daemon(ARGS.batond, [
            "--model=reader=" + model, "--executors.gpu.enabled=off",
            "--executors.fpga.enabled=off"])
        cls.addClassCleanup(cls.daemon.close)
        cls.stub = kserve_v2_pb2_grpc.GRPCInferenceServiceStub(cls.daemon.channel)
        cls.embedder = "lexical-1024"

    def request(self, texts, model="reader", raw=False, stream=None, sampling=None, **fields):
        request = self.pb.ModelInferRequest(model_name=model, **fields)

        def add(name, datatype, values):
            tensor = request.inputs.add(name=name, datatype=datatype, shape=[len(values)])
            if raw and datatype == "BYTES":
                request.raw_input_contents.append(
                    b"".join(struct.pack("<I", len(v)) + v for v in values))
            elif raw:
                request.raw_input_contents.append(bytes(values))
            elif datatype == "BYTES":
                tensor.contents.bytes_contents.extend(values)
            else:
                tensor.contents.bool_contents.extend(values)

        add("text_input", "BYTES", [text.encode() for text in texts])
        if stream is not None:
            add("stream", "BOOL", [stream])
        if sampling is not None:
            add("sampling_parameters", "BYTES", [json.dumps(sampling).encode()])
        return request

    def infer(self, *args, **kwargs):
        return self.stub.ModelInfer(self.request(*args, **kwargs), timeout=CALL_SECONDS_MAX)

    def fails(self, code, says, call):
        with self.assertRaises(grpc.RpcError) as raised:
            call()
        self.assertEqual(raised.exception.code(), code, raised.exception.details())
        self.assertIn(says, raised.exception.details())

    def test_server_and_models(self):
        self.assertTrue(self.stub.ServerLive(self.pb.ServerLiveRequest()).live)
        self.assertTrue(self.stub.ServerReady(self.pb.ServerReadyRequest()).ready)
        self.assertEqual(self.stub.ServerMetadata(self.pb.ServerMetadataRequest()).name, "baton")
        for name, version, ready in (("reader", "", True), ("reader", "1", True),
                                     ("reader", "2", False), ("nobody", "", False)):
            self.assertEqual(self.stub.ModelReady(
                self.pb.ModelReadyRequest(name=name, version=version)).ready, ready, name)
        described = self.stub.ModelMetadata(self.pb.ModelMetadataRequest(name="reader"))
        self.assertEqual([t.name for t in described.inputs],
                         ["text_input", "sampling_parameters", "stream"])
        self.assertEqual([t.name for t in described.outputs], ["text_output", "finish_reason"])
        described = self.stub.ModelMetadata(self.pb.ModelMetadataRequest(name=self.embedder))
        self.assertEqual(list(described.outputs[0].shape), [-1, 1024])
        self.fails(grpc.StatusCode.NOT_FOUND, "nobody", lambda: self.stub.ModelMetadata(
            self.pb.ModelMetadataRequest(name="nobody")))

    def test_generation(self):
        settings = {"max_tokens": 8, "temperature": 0, "ignore_eos": True}
        answer = self.infer(["The well"], sampling=settings, id="q1")
        self.assertEqual((answer.model_name, answer.model_version, answer.id),
                         ("reader", "1", "q1"))
        self.assertEqual([o.name for o in answer.outputs], ["text_output", "finish_reason"])
        text = answer.outputs[0].contents.bytes_contents[0]
        self.assertTrue(text)
        self.assertEqual(answer.outputs[1].contents.bytes_contents[0], b"length")
        self.assertEqual(answer.parameters["completion_tokens"].int64_param, 8)
        # The same as raw tensors, and by parameters.
        raw = self.infer(["The well"], sampling=settings, raw=True)
        self.assertEqual(raw.raw_output_contents[0], struct.pack("<I", len(text)) + text)
        request = self.request(["The well"])
        request.parameters["max_tokens"].int64_param = 8
        request.parameters["temperature"].double_param = 0
        request.parameters["ignore_eos"].bool_param = True
        request.outputs.add(name="text_output")
        chosen = self.stub.ModelInfer(request, timeout=CALL_SECONDS_MAX)
        self.assertEqual(len(chosen.outputs), 1)
        self.assertEqual(chosen.outputs[0].contents.bytes_contents[0], text)
        several = self.infer(["The well"], sampling={**settings, "n": 2})
        self.assertEqual(list(several.outputs[0].contents.bytes_contents), [text, text])

    def test_embedding(self):
        answer = self.infer(["a well", "a mill"], model=self.embedder)
        self.assertEqual(answer.outputs[0].datatype, "FP32")
        self.assertEqual(list(answer.outputs[0].shape), [2, 1024])
        values = list(answer.outputs[0].contents.fp32_contents)
        self.assertEqual(len(values), 2048)
        raw = self.infer(["a well", "a mill"], model=self.embedder, raw=True)
        self.assertEqual(list(struct.unpack("<2048f", raw.raw_output_contents[0])), values)

    def test_mistakes(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        self.fails(grpc.StatusCode.NOT_FOUND, "nobody", lambda: self.infer(["a"], model="nobody"))
        self.fails(invalid, "text_input", lambda: self.infer([]))
        self.fails(invalid, "stream", lambda: self.infer(["a"], stream=True))
        self.fails(invalid, "temperature",
                   lambda: self.infer(["a"], sampling={"temperature": 101}))

    def test_a_stream_of_requests(self):
        settings = {"max_tokens": 8, "temperature": 0, "ignore_eos": True}
        whole = self.infer(["The well"], sampling=settings).outputs[0].contents.bytes_contents[0]
        requests = queue.Queue()
        answers = self.stub.ModelStreamInfer(iter(requests.get, None), timeout=CALL_SECONDS_MAX)

        def ask(*args, **kwargs):
            requests.put(self.request(*args, **kwargs))
            received = []
            while True:
                received.append(next(answers))
                if received[-1].infer_response.parameters["triton_final_response"].bool_param:
                    return received

        pieces = ask(["The well"], sampling=settings, stream=True, id="s")
        self.assertGreater(len(pieces), 2)
        self.assertEqual(b"".join(p.infer_response.outputs[0].contents.bytes_contents[0]
                                  for p in pieces), whole)
        self.assertTrue(all(p.infer_response.id == "s" for p in pieces))
        one = ask(["The well"], sampling=settings)
        self.assertEqual(len(one), 1)
        self.assertEqual(one[0].infer_response.outputs[0].contents.bytes_contents[0], whole)
        # A mistake is told, and the stream goes on.
        wrong = ask(["The well"], sampling={"n": "x"})
        self.assertIn("n must be an integer", wrong[0].error_message)
        embedded = ask(["a well"], model=self.embedder)
        self.assertEqual(list(embedded[0].infer_response.outputs[0].shape), [1, 1024])
        requests.put(None)
        self.assertEqual(list(answers), [])
        self.assertEqual(answers.code(), grpc.StatusCode.OK)

    def test_a_stream_that_is_cancelled_ends_its_request(self):
        requests = queue.Queue()
        requests.put(self.request(["The well"], stream=True, sampling={
            "max_tokens": 1000, "ignore_eos": True}))
        answers = self.stub.ModelStreamInfer(iter(requests.get, None))
        next(answers)
        answers.cancel()
        requests.put(None)
        self.infer(["The well"], sampling={"max_tokens": 2})


def main():
    global ARGS  # pylint: disable=global-statement
    parser = argparse.ArgumentParser(description=__doc__)
    baton_client.add_arguments(parser)
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
