"""What the device itself can do, by PyTorch: the floors that Inlay's figures are held to, and what is taken of its memory.

    card.py DEVICE

Lines on standard input, one JSON answer each: `bandwidth` ({"rate": bytes a second, the better of reading and of copying}), `gemm M N K`
({"seconds": of one bf16 product [M, K] x [N, K]^T over weights that no cache holds}), `used` ({"bytes": taken on the device by all processes;
0 on the CPU}), `quit`. `ready` names device and versions.
"""
import importlib.metadata
import json
import sys
import time

import torch

# Larger than any cache of a processor or a GPU.
BEYOND_CACHES = 256 << 20
READ = 2 << 30
READ_ON_CPU = 256 << 20
TRIES = 6


def timed(device, work, repeats):
    """Seconds of one of some repeats."""
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for i in range(repeats):
            work(i)
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / repeats
    start = time.perf_counter()
    for i in range(repeats):
        work(i)
    return (time.perf_counter() - start) / repeats


def bandwidth(device):
    x = torch.ones((READ if device.type == "cuda" else READ_ON_CPU) // 4, dtype=torch.float32, device=device)
    y = torch.empty_like(x)
    size = x.numel() * 4
    reads = [size / timed(device, lambda _: x.sum(), 4) for _ in range(TRIES)]
    copies = [2 * size / timed(device, lambda _: y.copy_(x), 4) for _ in range(TRIES)]
    return max(reads + copies)


def gemm(device, m, n, k):
    """The best of some tries; weights take turns, so that each comes from memory as a layer's does."""
    x = torch.randn(m, k, device=device).to(torch.bfloat16)
    count = max(2, -(-BEYOND_CACHES // (2 * n * k)))
    weights = [torch.randn(n, k, device=device).to(torch.bfloat16) for _ in range(count)]
    return min(timed(device, lambda i: torch.nn.functional.linear(x, weights[i % count]), count) for _ in range(3))


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def describe(device):
    if device.type != "cuda":
        return "cpu"
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory >> 20} MiB, compute capability {properties.major}.{properties.minor}"


def main():
    device = torch.device(sys.argv[1])
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no GPU" + ("" if torch.version.cuda else "; it is a build without CUDA"))
    torch.set_grad_enabled(False)
    versions = {name: version(name) for name in ("torch", "transformers", "peft")} | {"cuda": torch.version.cuda or "none"}
    print(json.dumps({"ready": "card", "device": describe(device), "versions": versions}), flush=True)
    for line in sys.stdin:
        command = line.split()
        if command[0] == "bandwidth":
            answer = {"rate": bandwidth(device)}
        elif command[0] == "gemm":
            answer = {"seconds": gemm(device, *map(int, command[1:]))}
        elif command[0] == "used":
            free, total = torch.cuda.mem_get_info(device) if device.type == "cuda" else (0, 0)
            answer = {"bytes": total - free}
        elif command[0] == "quit":
            return
        if device.type == "cuda":
            torch.cuda.empty_cache()
        print(json.dumps(answer), flush=True)


main()
