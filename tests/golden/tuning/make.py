"""Golden tuning runs by PyTorch: a full gradient, masked to the selected blocks, and torch's own AdamW and clipping.

python make.py    writes model/ and golden.json beside this file; see README.md
"""

import json
import pathlib
import random

import tokenizers
import torch
import transformers

FOLDER = pathlib.Path(__file__).parent

EDGE = 16
BLOCKS = 14
WARM_UP_STEPS = 3
STEPS = 20
FULL_STEPS = 6
BATCH = 4
SEED = 42
PEAK = 2e-3
RAMP = 2
CLIP = 0.2
FULL_DECAY = 0.1
TARGETS = ["q_proj", "k_proj", "v_proj"]
MASK = (1 << 64) - 1


class SplittableRandom:
    """java.util.SplittableRandom (Steele, Lea, Flood 2014): the order of the batches is drawn with it."""

    def __init__(self, seed):
        self.seed = seed & MASK

    def next_seed(self):
        self.seed = (self.seed + 0x9E3779B97F4A7C15) & MASK
        return self.seed

    def next_long(self):
        z = self.next_seed()
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def next_int(self):
        z = self.next_seed()
        z = ((z ^ (z >> 33)) * 0x62A9D9ED799705F5) & MASK
        return (((z ^ (z >> 28)) * 0xCB24D0A5C88C35B3) & MASK) >> 32

    def below(self, bound):
        r = self.next_int()
        if bound & (bound - 1) == 0:
            return r & (bound - 1)
        u = r >> 1
        while u + bound - 1 - u % bound >= 1 << 31:
            u = self.next_int() >> 1
        return u % bound


def permutation(count, seed, epoch):
    order = list(range(count))
    draw = SplittableRandom(SplittableRandom(seed).next_long() + epoch)
    for i in range(count - 1, 0, -1):
        j = draw.below(i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def batches(examples, steps):
    per_epoch = -(-len(examples) // BATCH)
    for step in range(steps):
        start = step % per_epoch * BATCH
        yield [examples[e] for e in permutation(len(examples), SEED, step // per_epoch)[start:start + BATCH]]


def mean_loss(model, batch):
    """Mean over all targets of the batch; every sequence goes through alone, so there is no padding to get wrong."""
    total, targets = 0, 0
    for example in batch:
        ids = torch.tensor([example["tokens"]])
        log_p = torch.log_softmax(model(ids).logits[0, :-1], -1)
        first = max(0, example["prompt"] - 1)
        picked = log_p[first:].gather(1, ids[0, first + 1:, None])
        total = total - picked.sum()
        targets += picked.numel()
    return total / targets


def make_model(folder):
    """A random GQA model with tied embeddings; attention's weights are large enough that q, k and v all have blocks worth choosing."""
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, vocab_size=288,
        max_position_embeddings=128, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, dtype="bfloat16")
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight *= 6
            layer.self_attn.k_proj.weight *= 8
            layer.self_attn.v_proj.weight *= 13
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator([pathlib.Path(__file__).read_text()], tokenizers.trainers.BpeTrainer(
        vocab_size=config.vocab_size, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.save(str(folder / "tokenizer.json"))


def make_examples(vocabulary):
    draw = random.Random(7)
    examples = []
    for _ in range(10):
        length = draw.randint(5, 14)
        tokens = [draw.randrange(vocabulary) for _ in range(length)]
        examples.append({"tokens": tokens, "prompt": draw.randint(0, length - 2)})
    return examples


def blocks_of(matrix):
    rows, columns = matrix.shape
    return matrix.reshape(rows // EDGE, EDGE, columns // EDGE, EDGE).permute(0, 2, 1, 3)


def load(folder):
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    return model


def targets_of(model):
    names = [f"model.layers.{layer}.self_attn.{target}.weight" for layer in range(model.config.num_hidden_layers) for target in TARGETS]
    parameters = dict(model.named_parameters())
    return {name: parameters[name] for name in names}


def select(model, examples):
    targets = targets_of(model)
    sums = {name: torch.zeros_like(weight) for name, weight in targets.items()}
    losses = []
    for batch in batches(examples, WARM_UP_STEPS):
        model.zero_grad()
        loss = mean_loss(model, batch)
        loss.backward()
        losses.append(loss.item())
        for name, weight in targets.items():
            sums[name] += weight.grad
    ranking = []
    for name in targets:
        scores = blocks_of(sums[name].abs()).mean((2, 3))
        for row in range(scores.shape[0]):
            for column in range(scores.shape[1]):
                ranking.append((-scores[row, column].item(), len(ranking), name, row, column))
    ranking.sort()
    margin = ranking[BLOCKS - 1][0] / ranking[BLOCKS][0]
    assert margin > 1.001, f"the last chosen block is too close to the first left out: {margin}"
    chosen = {}
    for _, _, name, row, column in sorted(ranking[:BLOCKS], key=lambda block: (block[2], block[3], block[4])):
        chosen.setdefault(name, []).append([row, column])
    return chosen, losses, [-entry[0] for entry in sorted(ranking, key=lambda block: block[1])]


def train(model, groups, steps, examples, mask=None):
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.95), eps=1e-8)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, RAMP, steps)
    trained = [parameter for group in groups for parameter in group["params"]]
    record = {"losses": [], "rates": [], "norms": []}
    for batch in batches(examples, steps):
        model.zero_grad()
        loss = mean_loss(model, batch)
        loss.backward()
        if mask:
            mask()
        norm = torch.nn.utils.clip_grad_norm_(trained, CLIP)
        record["losses"].append(loss.item())
        record["rates"].append(optimizer.param_groups[0]["lr"])
        record["norms"].append(norm.item())
        optimizer.step()
        schedule.step()
    model.zero_grad()
    with torch.no_grad():
        record["last"] = mean_loss(model, examples).item()
    return record


def smt(folder, examples):
    model = load(folder)
    chosen, warm_up, scores = select(model, examples)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    parameters = {name: weight for name, weight in targets_of(model).items() if name in chosen}
    masks = {}
    for name, weight in parameters.items():
        weight.requires_grad_(True)
        masks[name] = torch.zeros_like(weight)
        for row, column in chosen[name]:
            masks[name][row * EDGE:(row + 1) * EDGE, column * EDGE:(column + 1) * EDGE] = 1

    def mask():
        for name, weight in parameters.items():
            weight.grad *= masks[name]

    record = train(model, [{"params": list(parameters.values()), "weight_decay": 0}], STEPS, examples, mask)
    values = {name: [round(value, 9) for row, column in places for value in blocks_of(parameters[name].detach())[row, column].flatten().tolist()]
              for name, places in chosen.items()}
    return record | {"selection": chosen, "warm_up": warm_up, "scores": scores, "values": values}


def full(folder, examples):
    model = load(folder)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    return train(model, [{"params": matrices, "weight_decay": FULL_DECAY}, {"params": vectors, "weight_decay": 0}], FULL_STEPS, examples)


def main():
    folder = FOLDER / "model"
    torch.manual_seed(0)
    torch.set_num_threads(1)
    make_model(folder)
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    examples = make_examples(vocabulary)
    golden = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "edge": EDGE, "blocks": BLOCKS, "warm_up_steps": WARM_UP_STEPS, "batch": BATCH, "seed": SEED, "peak": PEAK, "ramp": RAMP,
        "clip": CLIP, "full_decay": FULL_DECAY,
        "examples": examples,
        "order": [permutation(len(examples), SEED, epoch) for epoch in range(3)],
        "smt": smt(folder, examples),
        "full": full(folder, examples),
    }
    (FOLDER / "golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
