"""What transformers and PyTorch make of a model in fp32: logits, a greedy generation, steps of SMT, and the generation after them.

    reference.py DEVICE < CASE > ANSWER

CASE is one line of JSON: {"checkpoint", "prompt": ids, "tokens": to generate, "batches": [[{"prompt": length, "tokens": ids}]], "edge",
"selection": {tensor: [[row, column]]}, "rate", "clip"}. ANSWER: {"logits": of the prompt's last position, "generated", "losses",
"values": [...] of the blocks in the case's order after the steps, "tuned": generated after them}.
SMT here is a full gradient masked to the blocks, torch's clipping and torch's AdamW.
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM


@torch.no_grad()
def generate(model, prompt, tokens):
    """Every token by the whole text anew: no cache to get wrong. Returns the prompt's last logits too."""
    ids, first = list(prompt), None
    for _ in range(tokens):
        logits = model(torch.tensor([ids], device=model.device), use_cache=False).logits[0, -1]
        first = logits if first is None else first
        ids.append(int(logits.argmax()))
    return first.tolist(), ids[len(prompt):]


def mean_loss(model, batch):
    """Mean over the batch's targets: a sequence's tokens behind its prompt."""
    total, targets = 0, 0
    for sequence in batch:
        ids = torch.tensor([sequence["tokens"]], device=model.device)
        log_p = torch.log_softmax(model(ids, use_cache=False).logits[0, :-1], -1)
        first = max(0, sequence["prompt"] - 1)
        picked = log_p[first:].gather(1, ids[0, first + 1:, None])
        total = total - picked.sum()
        targets += picked.numel()
    return total / targets


def squares(selection, edge):
    for name, places in selection.items():
        for row, column in places:
            yield name, slice(row * edge, (row + 1) * edge), slice(column * edge, (column + 1) * edge)


def tune(model, case):
    selection, edge = case["selection"], case["edge"]
    trained = {name: parameter for name, parameter in model.named_parameters() if name in selection}
    masks = {name: torch.zeros_like(parameter) for name, parameter in trained.items()}
    for name, rows, columns in squares(selection, edge):
        masks[name][rows, columns] = 1
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    optimizer = torch.optim.AdamW(trained.values(), lr=case["rate"], betas=(0.9, 0.95), eps=1e-8, weight_decay=0)
    losses = []
    for batch in case["batches"]:
        optimizer.zero_grad()
        loss = mean_loss(model, batch)
        loss.backward()
        for name, parameter in trained.items():
            parameter.grad *= masks[name]
        torch.nn.utils.clip_grad_norm_(trained.values(), case["clip"])
        optimizer.step()
        losses.append(loss.item())
    values = [trained[name].detach()[rows, columns].flatten() for name, rows, columns in squares(selection, edge)]
    return losses, torch.cat(values).tolist()


def main():
    case = json.loads(sys.stdin.readline())
    model = AutoModelForCausalLM.from_pretrained(case["checkpoint"], dtype=torch.float32, attn_implementation="eager").to(sys.argv[1])
    model.eval()
    logits, generated = generate(model, case["prompt"], case["tokens"])
    losses, values = tune(model, case)
    _, tuned = generate(model, case["prompt"], case["tokens"])
    print(json.dumps({"logits": logits, "generated": generated, "losses": losses, "values": values, "tuned": tuned}))


main()
