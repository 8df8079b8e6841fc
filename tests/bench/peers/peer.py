"""A peer of one comparison: keeps its model loaded and does a timed segment whenever it is told to.

    peer.py MODE CHECKPOINT BATCHES [TRAINED] [--device cuda:0] [--random-weights]

MODE is full (plain PyTorch full fine-tuning), lora or dora (PEFT, about TRAINED parameters on q, k and v), decode or prefill (transformers),
or mixed (16 streams through 16 LoRA adapters of about TRAINED parameters each, PEFT).
With --random-weights the checkpoint's configuration alone is read, and the weights are drawn on the device. Training that does not fit into a
GPU goes on with activations recomputed (gradient checkpointing); segments say so by "recomputed".
Weights and activations are bf16, attention is PyTorch's scaled dot product. Lines on standard input: `run` does a segment and answers
{"seconds": ..., "tokens": ...}; `peak` answers {"bytes": ...}, the process's peak resident memory; `quit` ends.
Training counts useful tokens: prompt and answer, padding not counted, though it is computed here.
"""
import argparse
import json
import sys
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.cache_utils import DynamicCache


def peak_bytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def padded(sequences):
    """Right-padded ids, attention mask, and labels with -100 on prompts and padding."""
    longest = max(len(each["tokens"]) for each in sequences)
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, each in enumerate(sequences):
        n = len(each["tokens"])
        ids[row, :n] = torch.tensor(each["tokens"])
        mask[row, :n] = 1
        labels[row, each["prompt"]:n] = ids[row, each["prompt"]:n]
    return ids, mask, labels, sum(len(each["tokens"]) for each in sequences)


def trainer(model, parameters, batches):
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.0)
    ready = [padded(batch) for batch in batches]
    model.train()

    def step(ids, mask, labels):
        optimizer.zero_grad(set_to_none=True)
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    def segment():
        tokens = 0
        for ids, mask, labels, useful in ready:
            ids, mask, labels = (each.to(model.device) for each in (ids, mask, labels))
            fits = True
            try:
                step(ids, mask, labels)
            except torch.cuda.OutOfMemoryError:
                if model.is_gradient_checkpointing:
                    raise
                fits = False
            if not fits:
                optimizer.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
                model.gradient_checkpointing_enable({"use_reentrant": False})
                step(ids, mask, labels)
            tokens += useful
        return tokens

    return segment


def finished(device):
    """What was started on the device has ended."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def lora(model, trained, dora):
    from peft import LoraConfig, get_peft_model
    per_rank = 0
    for name, module in model.named_modules():
        if name.endswith(("q_proj", "k_proj", "v_proj")):
            per_rank += module.in_features + module.out_features
    rank = max(1, round(trained / per_rank))
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules=["q_proj", "k_proj", "v_proj"], use_dora=dora)
    # bf16 adapters: PEFT's faster setting; its default keeps adapters in fp32.
    return get_peft_model(model, config, autocast_adapter_dtype=False)


def decoder(model, tokens):
    prompt = torch.arange(5, 37).unsqueeze(0).to(model.device)

    def segment():
        cache = DynamicCache()
        out = model(input_ids=prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
        next_id = out.logits[:, -1].argmax(-1, keepdim=True)
        finished(str(model.device))
        start = time.perf_counter()
        for _ in range(tokens):
            out = model(input_ids=next_id, past_key_values=cache, use_cache=True, logits_to_keep=1)
            next_id = out.logits[:, -1].argmax(-1, keepdim=True)
        finished(str(model.device))
        return tokens, time.perf_counter() - start

    return segment


def mixed(model, trained, rows, tokens):
    """A batch of `rows` streams, each through a LoRA adapter of its own, as PEFT mixes adapters in one batch."""
    model = lora(model, trained, False)
    names = ["default"]
    for row in range(1, rows):
        names.append(f"tenant{row}")
        model.add_adapter(names[-1], model.peft_config["default"])
    model.eval()
    prompt = torch.randint(5, 1000, (rows, 32)).to(model.device)

    def segment():
        cache = DynamicCache()
        out = model(input_ids=prompt, past_key_values=cache, use_cache=True, logits_to_keep=1, adapter_names=names)
        next_id = out.logits[:, -1].argmax(-1, keepdim=True)
        finished(str(model.device))
        start = time.perf_counter()
        for _ in range(tokens):
            out = model(input_ids=next_id, past_key_values=cache, use_cache=True, logits_to_keep=1, adapter_names=names)
            next_id = out.logits[:, -1].argmax(-1, keepdim=True)
        finished(str(model.device))
        return rows * tokens, time.perf_counter() - start

    return segment


def prefiller(model, length, repeats):
    prompt = (torch.arange(length) % 1000 + 5).unsqueeze(0).to(model.device)

    def segment():
        for _ in range(repeats):
            model(input_ids=prompt, past_key_values=DynamicCache(), use_cache=True, logits_to_keep=1)
        return length * repeats

    return segment


def load(checkpoint, device, random_weights):
    options = {"dtype": torch.bfloat16, "attn_implementation": "sdpa"}
    if random_weights:
        with torch.device(device):
            return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(checkpoint), **options)
    return AutoModelForCausalLM.from_pretrained(checkpoint, **options).to(device)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode")
    parser.add_argument("checkpoint")
    parser.add_argument("batches")
    parser.add_argument("trained", nargs="?", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--random-weights", action="store_true")
    return parser.parse_args()


def main():
    asked = arguments()
    mode, batches = asked.mode, json.load(open(asked.batches))["batches"]
    model = load(asked.checkpoint, asked.device, asked.random_weights)
    trained = 0
    if mode == "full":
        parameters = list(model.parameters())
        segment = trainer(model, parameters, batches)
    elif mode in ("lora", "dora"):
        model = lora(model, asked.trained, mode == "dora")
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        segment = trainer(model, parameters, batches)
    else:
        torch.set_grad_enabled(False)
        model.eval()
        parameters = []
        if mode == "mixed":
            segment = mixed(model, asked.trained, 16, 16)
        else:
            segment = decoder(model, 64) if mode == "decode" else prefiller(model, 512, 2)
    trained = sum(parameter.numel() for parameter in parameters)
    print(json.dumps({"ready": mode, "trained": trained, "torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "run":
            start = time.perf_counter()
            done = segment()
            finished(asked.device)
            tokens, seconds = done if isinstance(done, tuple) else (done, time.perf_counter() - start)
            print(json.dumps({"seconds": seconds, "tokens": tokens, "recomputed": model.is_gradient_checkpointing}), flush=True)
        elif command == "peak":
            print(json.dumps({"bytes": peak_bytes()}), flush=True)
        elif command == "quit":
            return


main()
