#!/usr/bin/env python3
"""PyTorch on the same device, as a peer: the same shapes as bench_gpu's figures of those names.
Prints one line of JSON. Exit code 77: there is no PyTorch, or it sees no device."""

import json
import statistics
import sys
import time

NO_DEVICE = 77


def seconds_per_call(torch, work, seconds=1.0):
    """The median of samples of 20 ms or more."""
    work()
    torch.cuda.synchronize()
    calls = 1
    while True:
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        torch.cuda.synchronize()
        if time.perf_counter() - begin >= 0.02:
            break
        calls *= 2
    samples = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples) < 5:
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        torch.cuda.synchronize()
        samples.append((time.perf_counter() - begin) / calls)
    return statistics.median(samples)


def measure(torch):
    device = "cuda"
    figures = {}

    def random(*shape):
        return torch.randn(*shape, device=device, dtype=torch.bfloat16)

    with torch.inference_mode():
        x, w = random(8192, 4096), random(28672, 4096)
        seconds = seconds_per_call(torch, lambda: torch.nn.functional.linear(x, w))
        figures["gemm.gate_up TFLOP/s"] = 2e-12 * 8192 * 28672 * 4096 / seconds
        q, k, v = random(1, 32, 16384, 128), random(1, 32, 16384, 128), random(1, 32, 16384, 128)
        attend = torch.nn.functional.scaled_dot_product_attention
        seconds = seconds_per_call(torch, lambda: attend(q, k, v, is_causal=True))
        figures["attention.causal_16k TFLOP/s"] = 2e-12 * 32 * 128 * 16384 * 16384 / seconds
        del q, k, v
        a = random(1 << 30)
        b = torch.empty_like(a)
        seconds = seconds_per_call(torch, lambda: b.copy_(a))
        figures["copy GB/s"] = 2e-9 * a.numel() * 2 / seconds
        del a, b
        rows, queries = random(1_000_000, 768), random(1024, 768)

        def search():
            return torch.topk(queries @ rows.T, 10, dim=1)

        seconds = seconds_per_call(torch, search)
        figures["search.1m_768.b1024 TFLOP/s"] = 2e-12 * 1024 * 1e6 * 768 / seconds
    return figures


def main():
    try:
        import torch
    except ImportError:
        print("no PyTorch for this python3")
        return NO_DEVICE
    if not torch.cuda.is_available():
        print("PyTorch sees no device")
        return NO_DEVICE
    print(json.dumps(measure(torch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
