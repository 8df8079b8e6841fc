"""Writes sampling.json: which tokens Hugging Face's logits warpers keep, and with which probabilities.

    python make.py            (torch 2.13.0, transformers 5.23.0 on CPU; seed 31)

Warpers run in the order in which generate() puts them: temperature, top-k, top-p.
"""
import json
from pathlib import Path

import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

torch.manual_seed(31)


def inputs():
    peaked = torch.randn(200) * 4
    flat = torch.randn(500) * 0.3
    # Rounded to quarters, so that many tokens tie with the k-th; the nucleus never ends inside a tie here (see cases()).
    tied = (torch.randn(120) * 8).round() / 4
    extreme = torch.tensor([80.0, -90.0, 79.5, 0.0, -0.0, 60.0, 3e4, -3e4, 2.9999e4, float("-inf"), 2.99995e4, 1e-30])
    wide = torch.randn(4000) * 2.5
    return {"peaked": peaked, "flat": flat, "tied": tied, "extreme": extreme, "wide": wide}


SETTINGS = [
    (1.0, 0, 1.0), (0.7, 0, 1.0), (1.0, 1, 1.0), (1.0, 5, 1.0), (1.3, 40, 1.0), (1.0, 100000, 1.0),
    (1.0, 0, 0.9), (0.5, 0, 0.9), (2.0, 0, 0.95), (1.0, 0, 0.5), (1.0, 0, 0.05), (1.0, 0, 0.999), (1.0, 0, 0.0),
    (0.8, 40, 0.9), (1.5, 7, 0.6), (1.0, 3, 0.999), (0.01, 20, 0.9), (10.0, 50, 0.3),
]


def warp(scores, temperature, top_k, top_p):
    scores = scores[None]
    scores = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k > 0:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    return scores[0]


def ends_inside_a_tie(scores, kept):
    """Among equal logits torch.sort's order decides who is in the nucleus: an accident, not a definition."""
    return bool((scores[~kept] == scores[kept].min()).any()) if (~kept).any() else False


def cases(logits):
    for name, scores in logits.items():
        for temperature, top_k, top_p in SETTINGS:
            warped = warp(scores, temperature, top_k, top_p)
            kept = warped != float("-inf")
            if top_p < 1 and ends_inside_a_tie(scores, kept):
                continue
            ids = kept.nonzero().flatten()
            yield {"logits": name, "temperature": temperature, "topK": top_k, "topP": top_p, "kept": ids.tolist(),
                   "probabilities": torch.softmax(warped.double(), -1)[ids].tolist() if len(ids) <= 50 else []}


logits = inputs()
golden = {
    "logits": {name: ["-inf" if v == float("-inf") else v for v in scores.tolist()] for name, scores in logits.items()},
    "cases": list(cases(logits)),
}
target = Path(__file__).parent / "sampling.json"
target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print(f"{len(golden['cases'])} cases, {target.stat().st_size} bytes")
