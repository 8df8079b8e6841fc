"""Writes embeddings.json: mean-pooled hidden states of the models of tests/golden/llama.

    python make.py            (torch 2.13.0, transformers 5.23.0 on CPU, fp32)
"""
import json
from pathlib import Path

import torch
import transformers

FOLDER = Path(__file__).parent
TEXTS = [[5], [10, 300, 21, 7, 450], list(range(20, 60))]

torch.set_num_threads(1)
golden = []
for name in ("llama2-like", "llama31-like"):
    model = transformers.LlamaForCausalLM.from_pretrained(FOLDER.parent / "llama" / name, dtype=torch.float32, attn_implementation="eager").eval()
    for ids in TEXTS:
        with torch.no_grad():
            out = model(torch.tensor([ids]), output_hidden_states=True)
        mean = out.hidden_states[-1][0].mean(0)
        logprobs = torch.log_softmax(out.logits[0].double(), -1)
        golden.append({"model": name, "tokens": ids, "mean": mean.tolist(), "embedding": (mean / mean.norm()).tolist(),
                       "logprobs": [logprobs[i, ids[i + 1]].item() for i in range(len(ids) - 1)]})
(FOLDER / "embeddings.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print(len(golden), "texts by transformers", transformers.__version__)
