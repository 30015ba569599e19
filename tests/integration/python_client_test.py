#!/usr/bin/python3
"""A client in another language, from nothing but the .proto files: health, reflection, Ingest,
Search and a streamed Ask. Needs python3-grpcio and python3-protobuf; stubs are made at run time."""

import argparse
import os
import random
import signal
import sys
import tempfile
import unittest

try:
    import grpc
except ImportError:
    print("SKIPPED: no python3-grpcio for " + sys.executable)
    sys.exit(0)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.dont_write_bytecode = True
import baton_client  # noqa: E402

CALL_SECONDS_MAX = 30

# No package ships these two as Python classes; the fields are those of grpc/health/v1 and
# grpc/reflection/v1alpha that are used here.
HEALTH_PROTO = """
syntax = "proto3";
package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse {
  enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
  ServingStatus status = 1;
}
service Health {
  rpc Check(HealthCheckRequest) returns (HealthCheckResponse);
  rpc Watch(HealthCheckRequest) returns (stream HealthCheckResponse);
}
"""
REFLECTION_PROTO = """
syntax = "proto3";
package grpc.reflection.v1alpha;
message ServerReflectionRequest {
  oneof message_request {
    string file_containing_symbol = 4;
    string list_services = 7;
  }
}
message ServerReflectionResponse {
  oneof message_response {
    FileDescriptorResponse file_descriptor_response = 4;
    ListServiceResponse list_services_response = 6;
  }
}
message FileDescriptorResponse { repeated bytes file_descriptor_proto = 1; }
message ListServiceResponse { repeated ServiceResponse service = 1; }
message ServiceResponse { string name = 1; }
service ServerReflection {
  rpc ServerReflectionInfo(stream ServerReflectionRequest)
      returns (stream ServerReflectionResponse);
}
"""

ARGS = None  # the command line


class PythonClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="baton-python-")
        cls.addClassCleanup(cls.folder.cleanup)
        baton_client.make_stubs(ARGS, cls.folder.name,
                                (("health", HEALTH_PROTO), ("reflection", REFLECTION_PROTO)))
        cls.daemon = baton_client.Daemon(ARGS.batond)
        cls.addClassCleanup(cls.daemon.close)
        cls.channel = cls.daemon.channel

    def test_health(self):
        import health_pb2
        import health_pb2_grpc
        stub = health_pb2_grpc.HealthStub(self.channel)
        for service in ("", "baton.v1.InferenceService", "baton.v1.VectorService",
                        "baton.v1.RagService", "baton.v1.AdminService",
                        "inference.GRPCInferenceService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service),
                                timeout=CALL_SECONDS_MAX)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING, service)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="baton.v1.RagService"))
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
        watch.cancel()
        with self.assertRaises(grpc.RpcError) as raised:
            stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=CALL_SECONDS_MAX)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_reflection(self):
        import reflection_pb2
        import reflection_pb2_grpc
        from google.protobuf import descriptor_pb2
        stub = reflection_pb2_grpc.ServerReflectionStub(self.channel)

        def ask(**request):
            requests = iter([reflection_pb2.ServerReflectionRequest(**request)])
            return next(stub.ServerReflectionInfo(requests, timeout=CALL_SECONDS_MAX))

        names = {service.name for service in ask(list_services="").list_services_response.service}
        self.assertLessEqual(
            {"baton.v1.InferenceService", "baton.v1.VectorService", "baton.v1.RagService",
             "baton.v1.AdminService", "grpc.health.v1.Health"}, names)
        files = ask(file_containing_symbol="baton.v1.RagService").file_descriptor_response
        methods = set()
        for serialized in files.file_descriptor_proto:
            for service in descriptor_pb2.FileDescriptorProto.FromString(serialized).service:
                methods.update(method.name for method in service.method)
        self.assertLessEqual({"Ingest", "Ask"}, methods)

    def test_ingest_search_and_streamed_ask(self):
        from baton.v1 import inference_pb2, inference_pb2_grpc
        from baton.v1 import rag_pb2, rag_pb2_grpc
        from baton.v1 import vector_pb2, vector_pb2_grpc
        seed = random.randrange(2**32)
        print("seed", seed)
        values = random.Random(seed)
        depth = str(values.randrange(1000, 9999))
        syllables = [values.choice("bdgklmnrt") + values.choice("aeiou") for _ in range(4)]
        name = "".join(syllables).title()
        fact = f"The well of {name} is {depth} centimetres deep."

        rag = rag_pb2_grpc.RagServiceStub(self.channel)
        document = rag_pb2.Document(id="wells", title="Wells",
                                    text=f"Wells are old. {fact} The water is sweet.")
        document.metadata["year"].integer = 1911
        other = rag_pb2.Document(id="mills", text="The mill has three sails and no miller.")
        ingested = rag.Ingest(
            rag_pb2.IngestRequest(collection="py", documents=[document, other]),
            timeout=CALL_SECONDS_MAX)
        self.assertEqual(ingested.documents, 2)

        embedded = inference_pb2_grpc.InferenceServiceStub(self.channel).Embed(
            inference_pb2.EmbedRequest(texts=[f"well of {name}"]), timeout=CALL_SECONDS_MAX)
        found = vector_pb2_grpc.VectorServiceStub(self.channel).Search(
            vector_pb2.SearchRequest(collection="py", vector=embedded.embeddings[0].values,
                                     params=vector_pb2.SearchParams(k=1)),
            timeout=CALL_SECONDS_MAX)
        self.assertEqual(len(found.points), 1)
        self.assertIn(fact, found.points[0].payload["text"].text)
        self.assertEqual(found.points[0].payload["year"].integer, 1911)

        call = rag.Ask(
            rag_pb2.AskRequest(collection="py", question=f"How deep is the well of {name}?"),
            timeout=CALL_SECONDS_MAX)
        events = list(call)
        self.assertEqual([event.WhichOneof("event") for event in events], ["retrieved", "finished"])
        self.assertEqual(events[0].retrieved.passages[0].document_id, "wells")
        finished = events[1].finished
        self.assertEqual(finished.mode, rag_pb2.AskFinished.RETRIEVAL_ONLY)
        self.assertEqual(finished.citations[0].quote, fact)
        self.assertEqual([stage.name for stage in finished.timings.stages], ["embed", "search"])
        self.assertTrue(all(stage.route.reason for stage in finished.timings.stages))

    def test_hints_as_metadata(self):
        from baton.v1 import common_pb2
        from baton.v1 import rag_pb2, rag_pb2_grpc
        rag = rag_pb2_grpc.RagServiceStub(self.channel)
        request = rag_pb2.AskRequest(collection="py", question="?")
        request.options.hints.platform = common_pb2.PLATFORM_CPU
        with self.assertRaises(grpc.RpcError) as raised:
            list(rag.Ask(request, metadata=[("baton-platform", "gpu")], timeout=CALL_SECONDS_MAX))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("hints.platform", raised.exception.details())

    def test_z_sigterm_ends_the_daemon(self):
        self.daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.process.wait(timeout=baton_client.READY_SECONDS_MAX), 0)


def main():
    global ARGS  # pylint: disable=global-statement
    parser = argparse.ArgumentParser(description=__doc__)
    baton_client.add_arguments(parser)
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
