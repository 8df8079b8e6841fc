"""Four tiny random LLaMAs in Hugging Face layout, and what transformers computes with them.

python make.py    writes one folder per model beside this file; see README.md
"""

import json
import pathlib
import shutil

import safetensors.torch
import torch
import transformers

FOLDER = pathlib.Path(__file__).parent
TOKENIZERS = FOLDER.parent / "tokenizer"
PROMPT = 12
GREEDY = 64
POSITIONS = 24

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
          "rope_theta": 500000.0}

MODELS = {
    # name: (seed, tokenizer, type as stored, largest shard, gradients, configuration)
    "llama2-like": (2026, "metaspace", torch.float32, "1GB", True, dict(
        num_hidden_layers=2, num_attention_heads=4, intermediate_size=176, rms_norm_eps=1e-5, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, max_position_embeddings=128)),
    "llama31-like": (2026, "byte-level", torch.float32, "1GB", True, dict(
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=192, rms_norm_eps=1e-5,
        tie_word_embeddings=True, rope_parameters=LLAMA3, bos_token_id=0, eos_token_id=[1, 4], max_position_embeddings=512)),
    "sharded-bf16": (2027, "byte-level", torch.bfloat16, "128KB", False, dict(
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1, head_dim=32, intermediate_size=128, rms_norm_eps=1e-6,
        tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, bos_token_id=0, eos_token_id=4,
        max_position_embeddings=128)),
    "fp16": (2026, "metaspace", torch.float16, "1GB", False, dict(
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, intermediate_size=128, rms_norm_eps=1e-6,
        tie_word_embeddings=True, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}, bos_token_id=1,
        eos_token_id=2, max_position_embeddings=128)),
}


def make_model(folder, stored, shard, settings):
    """Weights large enough that attention has preferences and logits have no ties; norms away from 1, where an unread norm would hide."""
    config = transformers.LlamaConfig(hidden_size=64, vocab_size=512, **settings)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(0, 1.5 / parameter.shape[1] ** 0.5)
        model.get_input_embeddings().weight.normal_(0, 0.5)
    model.to(stored).save_pretrained(folder, max_shard_size=shard)


def load(folder, dtype):
    return transformers.LlamaForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


@torch.no_grad()
def greedy(model, prompt):
    """Ids of the continuation, and the smallest lead that a chosen id had over the next best one."""
    ids, lead = list(prompt), float("inf")
    for _ in range(GREEDY):
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return ids[len(prompt):], lead


def examples(generator):
    """Three sequences; the loss is on what follows each prompt."""
    tokens, targets, lengths = [], [], []
    for length, prompt in ((9, 4), (17, 1), (6, 5)):
        ids = torch.randint(0, 512, (length,), generator=generator)
        tokens.append(ids)
        targets.append(torch.tensor([ids[t + 1].item() if t + 1 < length and t + 1 >= prompt else -1 for t in range(length)]))
        lengths.append(length)
    return tokens, targets, lengths


def gradients(model, generator):
    """Gradients of the sum of the losses, every sequence alone in the model, so that there is no padding and no mask to get wrong."""
    tokens, targets, lengths = examples(generator)
    total = 0
    for ids, wanted in zip(tokens, targets):
        logits = model(ids[None]).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits, wanted, ignore_index=-1, reduction="sum")
    model.zero_grad()
    total.backward()
    golden = {"batch.tokens": torch.cat(tokens), "batch.targets": torch.cat(targets), "batch.lengths": torch.tensor(lengths),
              "batch.loss": total.detach()[None]}
    return golden | {f"gradient.{name}": parameter.grad for name, parameter in model.named_parameters()}


def make(name, seed, tokenizer, stored, shard, with_gradients, settings):
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    make_model(folder, stored, shard, settings)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZERS / tokenizer / file, folder)

    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 512, (POSITIONS,), generator=generator)
    model = load(folder, torch.float32)
    golden = {"tokens": ids, "prompt": ids[:PROMPT]}
    rope = model.model.rotary_emb
    cosines, sines = rope(torch.zeros(1), torch.arange(settings["max_position_embeddings"])[None])
    half = cosines.shape[-1] // 2
    golden["rope"] = torch.cat((cosines[0, :, :half], sines[0, :, :half]), -1)[::7]
    golden["inverse_frequencies"] = rope.inv_freq
    with torch.no_grad():
        golden["logits.fp32"] = model(ids[None]).logits[0]
        golden["logits.bf16"] = load(folder, torch.bfloat16)(ids[None]).logits[0].float()
        golden["logits.fp32_of_bf16_weights"] = load(folder, torch.bfloat16).float()(ids[None]).logits[0]
    continuation, lead = greedy(model, golden["prompt"].tolist())
    spread = golden["logits.fp32"].std().item()
    assert lead > 1e-3 * spread, f"{name}: a greedy step is all but a tie ({lead} of {spread}); choose another seed"
    golden["greedy"] = torch.tensor(continuation)
    if with_gradients:
        golden |= gradients(model, generator)
    golden = {key: value.to(torch.int32 if value.dtype == torch.int64 else torch.float32).contiguous() for key, value in golden.items()}
    safetensors.torch.save_file(golden, folder / "golden.safetensors")
    off = (golden["logits.bf16"] - golden["logits.fp32_of_bf16_weights"]).norm() / golden["logits.fp32_of_bf16_weights"].norm()
    print(f"{name}: smallest lead {lead:.4f}, spread of logits {spread:.3f}, distinct greedy ids {len(set(continuation))}, "
          f"bf16 against fp32 of the same weights {off:.5f}")


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for name, description in MODELS.items():
        make(name, *description)
    print("torch", torch.__version__, "transformers", transformers.__version__, "safetensors", safetensors.__version__)


if __name__ == "__main__":
    main()
