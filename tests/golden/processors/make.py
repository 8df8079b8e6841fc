"""Writes processors.json: logits after Hugging Face's processors and warpers, and what vLLM's penalties make of them.

    python make.py            (torch 2.13.0, transformers 5.23.0 on CPU; seed 32)

The order is Inlay's (io.inlay.generation.Steering): bias, repetition penalty, frequency and presence penalty; then log-softmax; and
temperature, top-k, top-p, min-p in the order of generate().
"""
import json
from pathlib import Path

import torch
from transformers import (MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, SequenceBiasLogitsProcessor, TemperatureLogitsWarper,
                          TopKLogitsWarper, TopPLogitsWarper)

torch.manual_seed(32)
VOCABULARY = 120

CASES = [
    # bias, repetition, frequency, presence, temperature, top-k, top-p, min-p
    ({}, 1.0, 0.0, 0.0, 1.0, 0, 1.0, 0.0),
    ({3: 5.0, 17: -100.0, 50: 0.25}, 1.0, 0.0, 0.0, 1.0, 0, 1.0, 0.0),
    ({}, 1.3, 0.0, 0.0, 1.0, 0, 1.0, 0.0),
    ({}, 0.7, 0.0, 0.0, 1.0, 0, 1.0, 0.0),
    ({}, 1.0, 0.5, 0.0, 1.0, 0, 1.0, 0.0),
    ({}, 1.0, 0.0, 1.5, 1.0, 0, 1.0, 0.0),
    ({}, 1.0, -2.0, 2.0, 1.0, 0, 1.0, 0.0),
    ({9: 3.0}, 1.1, 0.3, 0.2, 0.8, 0, 1.0, 0.0),
    ({}, 1.0, 0.0, 0.0, 1.0, 0, 1.0, 0.1),
    ({}, 1.0, 0.0, 0.0, 1.0, 0, 1.0, 0.5),
    ({}, 1.0, 0.0, 0.0, 1.0, 0, 1.0, 1.0),
    ({}, 1.0, 0.0, 0.0, 0.5, 0, 1.0, 0.05),
    ({}, 1.0, 0.0, 0.0, 2.0, 0, 1.0, 0.05),
    ({}, 1.0, 0.0, 0.0, 1.0, 30, 0.9, 0.02),
    ({}, 1.0, 0.0, 0.0, 1.5, 0, 0.8, 0.01),
    ({5: -3.0}, 1.2, 0.4, 0.4, 0.7, 25, 0.95, 0.03),
]


def case(logits, prompt, drawn, settings):
    bias, repetition, frequency, presence, temperature, top_k, top_p, min_p = settings
    scores = logits[None].clone()
    if bias:
        # With one token a sequence, a bias applies at every step.
        scores = SequenceBiasLogitsProcessor([[[token], value] for token, value in bias.items()])(torch.tensor([prompt + drawn]), scores)
    if repetition != 1.0:
        scores = RepetitionPenaltyLogitsProcessor(repetition)(torch.tensor([prompt + drawn]), scores)
    counts = torch.bincount(torch.tensor(drawn, dtype=torch.long), minlength=VOCABULARY)
    scores = scores - frequency * counts - presence * (counts > 0)
    processed = scores[0].clone()
    scores = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    if min_p:
        scores = MinPLogitsWarper(min_p)(None, scores)
    kept = (scores[0] != float("-inf")).nonzero().flatten().tolist()
    return {"bias": {str(token): value for token, value in bias.items()}, "repetition": repetition, "frequency": frequency, "presence": presence,
            "temperature": temperature, "topK": top_k, "topP": top_p, "minP": min_p, "prompt": prompt, "drawn": drawn,
            "processed": processed.tolist(), "logprobs": torch.log_softmax(processed.double(), -1).tolist(), "kept": kept}


logits = torch.randn(VOCABULARY) * 3
prompt = torch.randint(0, VOCABULARY, (12,)).tolist()
drawn = torch.randint(0, 20, (15,)).tolist()
golden = {"logits": logits.tolist(), "cases": [case(logits, prompt, drawn, settings) for settings in CASES]}
target = Path(__file__).parent / "processors.json"
target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print(f"{len(golden['cases'])} cases, {target.stat().st_size} bytes")
