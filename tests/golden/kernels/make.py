"""Writes kernels.json: operands and results of the fused operations, forward and backward, from PyTorch's autograd in fp64, kept as fp32.

    python make.py            (torch 2.13.0 on CPU; seed 20)

Each operation is an object of named arrays {"shape": [...], "values": [...]}; row-major.
"""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(20)
torch.set_default_dtype(torch.float64)
golden = {}


def leaf(*shape, scale=1.0):
    """A random operand that fp32 holds exactly, so that both sides start from the same numbers."""
    return (torch.randn(*shape) * scale).float().double().requires_grad_(True)


def put(operation, **arrays):
    golden[operation] = {
        name: {"shape": list(t.shape), "values": t.detach().reshape(-1).to(torch.float32 if t.is_floating_point() else t.dtype).tolist()}
        for name, t in arrays.items()
    }


def rms_norm():
    x, weight, grad, eps = leaf(5, 48), leaf(48), torch.randn(5, 48).float().double(), 1e-5
    rstd = torch.rsqrt(x.pow(2).mean(-1) + eps)
    out = F.rms_norm(x, (48,), weight, eps)
    out.backward(grad)
    put("rmsNorm", x=x, weight=weight, gradOut=grad, out=out, rstd=rstd, gradX=x.grad, gradWeight=weight.grad)


def rope():
    heads, d, positions = 3, 16, torch.tensor([0, 7, 3, 11], dtype=torch.int32)
    frequencies = 1.0 / 10000 ** (torch.arange(0, d, 2).double() / d)
    angles = torch.outer(torch.arange(12).double(), frequencies)
    table = torch.cat([angles.cos(), angles.sin()], -1).float().double()
    x, grad = leaf(4, heads, d), torch.randn(4, heads, d).float().double()
    cos = torch.cat([table[positions.long(), : d // 2]] * 2, -1)[:, None]
    sin = torch.cat([table[positions.long(), d // 2:]] * 2, -1)[:, None]
    rotated = torch.cat([-x[..., d // 2:], x[..., : d // 2]], -1)  # rotate_half of transformers
    out = x * cos + rotated * sin
    out.backward(grad)
    put("rope", x=x, table=table, positions=positions, out=out, gradOut=grad, gradX=x.grad)


def swiglu():
    gate, up, grad = leaf(4, 33, scale=3.0), leaf(4, 33), torch.randn(4, 33).float().double()
    out = F.silu(gate) * up
    out.backward(grad)
    put("swiGlu", gate=gate, up=up, out=out, gradOut=grad, gradGate=gate.grad, gradUp=up.grad)


def cross_entropy():
    logits, targets, scale = leaf(5, 37, scale=4.0), torch.tensor([0, 36, 5, 17, 5], dtype=torch.int32), 0.25
    losses = F.cross_entropy(logits, targets.long(), reduction="none")
    (scale * losses.sum()).backward()
    put("crossEntropy", logits=logits, targets=targets, losses=losses, gradient=logits.grad, scale=torch.tensor([scale]))


def adamw():
    start, steps = leaf(50), 4
    gradients = torch.randn(steps, 50).float().double()
    p = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([p], lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for g in gradients:
        p.grad = 0.5 * g  # the kernel's gradientScale
        optimizer.step()
    state = optimizer.state[p]
    put("adamW", start=start, gradients=gradients, master=p, first=state["exp_avg"], second=state["exp_avg_sq"])


def decode_attention():
    q, keys, values, length = leaf(6, 16), leaf(2, 9, 16), leaf(2, 9, 16), 7
    out = F.scaled_dot_product_attention(q[None, :, None], keys[None, :, :length], values[None, :, :length], scale=1 / math.sqrt(16), enable_gqa=True)
    put("decodeAttention", q=q, keys=keys, values=values, out=out[0, :, 0], length=torch.tensor([length], dtype=torch.int32))


def embedding():
    table, ids, grad = leaf(9, 20), torch.tensor([4, 0, 4, 8], dtype=torch.int32), torch.randn(4, 20).float().double()
    out = F.embedding(ids.long(), table)
    out.backward(grad)
    put("embed", table=table, ids=ids, out=out, gradOut=grad, gradTable=table.grad)


def linear():
    x, w = leaf(3, 40), leaf(24, 40)
    put("linear", x=x, w=w, y=F.linear(x, w))


def causal_attention():
    lengths, heads, groups, d = (5, 1, 7), 6, 2, 16
    n = sum(lengths)
    q, k, v, grad = leaf(n, heads, d), leaf(n, groups, d), leaf(n, groups, d), torch.randn(n, heads, d).float().double()
    starts = torch.tensor([sum(lengths[:s]) for s in range(len(lengths) + 1)], dtype=torch.int32)
    outs, sums = [], []
    for s, length in enumerate(lengths):
        rows = slice(int(starts[s]), int(starts[s]) + length)
        by_head = [x[rows].transpose(0, 1)[None] for x in (q, k, v)]
        outs.append(F.scaled_dot_product_attention(*by_head, is_causal=True, scale=1 / math.sqrt(d), enable_gqa=True)[0].transpose(0, 1))
        scores = torch.einsum("ihd,jhd->hij", q[rows], k[rows].repeat_interleave(heads // groups, 1)) / math.sqrt(d)
        sums.append(torch.logsumexp(scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf), -1))
    out = torch.cat(outs)
    out.backward(grad)
    put("causalAttention", q=q, k=k, v=v, starts=starts, out=out, logSumExp=torch.cat(sums, 1), gradOut=grad, gradQ=q.grad, gradK=k.grad,
        gradV=v.grad)


for make in (rms_norm, rope, swiglu, cross_entropy, adamw, decode_attention, embedding, linear, causal_attention):
    make()
golden["versions"] = {"torch": torch.__version__, "seed": 20}
Path(__file__).with_name("kernels.json").write_text(json.dumps(golden) + "\n")
