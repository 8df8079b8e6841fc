"""Golden LoRA and DoRA runs by PEFT on the model and the examples of ../tuning.

python make.py    writes golden.safetensors beside this file; see README.md
"""

import importlib.util
import json
import pathlib

import numpy
import peft
import safetensors.torch
import torch
import transformers

FOLDER = pathlib.Path(__file__).parent
TUNING = FOLDER.parent / "tuning"

spec = importlib.util.spec_from_file_location("tuning", TUNING / "make.py")
tuning = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tuning)

RANK = 4
ALPHA = 16
STEPS = 20
DROPOUT = 0.3
DROPOUT_STEPS = 6
DECAY = 0.1
TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
PLACES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MERGED_LAYER = 1


class CountedDropout(torch.nn.Module):
    """Inverted dropout whose mask is drawn from a counter, as io.inlay.kernels.Dropout says; rows count over the step's packed batch."""

    def __init__(self, place):
        super().__init__()
        self.place = place
        self.begin(0)

    def begin(self, step):
        key = tuning.SplittableRandom(tuning.SEED).next_long()
        for part in (step, 0, self.place):
            key = tuning.SplittableRandom(key + part).next_long()
        self.key = key
        self.rows = 0

    def forward(self, x):
        if not self.training:
            return x
        rows, columns = x.shape[1] - 1, x.shape[2]
        threshold = round(DROPOUT * 65536)
        mask = torch.ones_like(x)
        mask[0, :rows] = torch.from_numpy(self.stays(self.rows * columns, rows * columns, threshold).reshape(rows, columns)).to(x.dtype)
        mask[0, :rows] *= 65536 / (65536 - threshold)
        self.rows += rows
        return x * mask

    def stays(self, first, count, threshold):
        i = numpy.arange(first, first + count, dtype=numpy.uint64)
        golden = numpy.uint64(0x9E3779B97F4A7C15)
        z = numpy.uint64(self.key) + (i // numpy.uint64(4) + numpy.uint64(1)) * golden
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
        draw = z >> (numpy.uint64(16) * (i % numpy.uint64(4))) & numpy.uint64(0xFFFF)
        return draw >= threshold


def adapted(dora, dropout):
    torch.manual_seed(1)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=TARGETS, use_dora=dora, task_type="CAUSAL_LM")
    model = peft.get_peft_model(tuning.load(TUNING / "model"), config)
    counted = []
    if dropout:
        for name, module in model.named_modules():
            if isinstance(module, peft.tuners.lora.Linear):
                layer = int(name.split("layers.")[1].split(".")[0])
                place = layer * len(PLACES) + PLACES.index(name.split(".")[-1])
                module.lora_dropout["default"] = CountedDropout(place)
                counted.append(module.lora_dropout["default"])
    model.train()
    return model, counted


def parameters(model):
    def plain(name):
        name = name.removeprefix("base_model.model.")
        return name.replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector").replace(".default", "")
    return {plain(name): parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def snapshot(model):
    return {name: parameter.detach().clone() for name, parameter in parameters(model).items()}


def train(model, counted, steps, examples):
    trained = parameters(model)
    vectors = [parameter for name, parameter in trained.items() if "magnitude" in name]
    matrices = [parameter for name, parameter in trained.items() if "magnitude" not in name]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0}], lr=tuning.PEAK,
                                  betas=(0.9, 0.95), eps=1e-8)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, tuning.RAMP, steps)
    losses, norms = [], []
    for step, batch in enumerate(tuning.batches(examples, steps)):
        for each in counted:
            each.begin(step)
        model.zero_grad()
        loss = tuning.mean_loss(model, batch)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(list(trained.values()), tuning.CLIP).item())
        losses.append(loss.item())
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        last = tuning.mean_loss(model, examples).item()
    return {"losses": torch.tensor(losses), "norms": torch.tensor(norms), "last": torch.tensor([last])}


def logits(model, examples):
    with torch.no_grad():
        return torch.stack([model(torch.tensor([example["tokens"]])).logits[0, -1] for example in examples])


def merged(model, examples):
    plain = model.merge_and_unload()
    record = {"logits": logits(plain, examples)}
    targets = {name: weight for name, weight in plain.named_parameters() if any(target in name for target in TARGETS)}
    for name, weight in targets.items():
        if f"layers.{MERGED_LAYER}." in name:
            record[f"merged.{name}"] = weight.detach().clone()
    with torch.no_grad():
        for weight in targets.values():
            weight.copy_(weight.to(torch.bfloat16))
    return record | {"logits.rounded": logits(plain, examples)}


def run(dora, examples):
    model, _ = adapted(dora, False)
    record = {f"initial.{name}": value for name, value in snapshot(model).items() if "lora_A" in name}
    record |= train(model, [], STEPS, examples)
    record |= {f"final.{name}": value for name, value in snapshot(model).items()}
    record |= merged(model, examples)
    model, counted = adapted(dora, True)
    assert all(torch.equal(record[f"initial.{name}"], value) for name, value in snapshot(model).items() if "lora_A" in name)
    assert len(counted) == 3 * len(TARGETS)
    record |= {f"dropout.{name}": value for name, value in train(model, counted, DROPOUT_STEPS, examples).items()}
    record |= {f"dropout.final.{name}": value for name, value in snapshot(model).items()}
    return record


def main():
    torch.set_num_threads(1)
    examples = json.loads((TUNING / "golden.json").read_text())["examples"]
    golden = {}
    for kind in ("lora", "dora"):
        golden |= {f"{kind}.{name}": value.float().contiguous() for name, value in run(kind == "dora", examples).items()}
    safetensors.torch.save_file(golden, FOLDER / "golden.safetensors")
    for kind in ("lora", "dora"):
        print(kind, golden[f"{kind}.losses"].tolist(), golden[f"{kind}.last"].item(), golden[f"{kind}.norms"].tolist())
        print(kind, "dropout", golden[f"{kind}.dropout.losses"].tolist())
    print({"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__})


if __name__ == "__main__":
    main()
