"""Golden block scores by PyTorch: full gradients of every linear over the warm-up's batches, and the three scores computed from them.

python make.py    reads ../tuning (model, examples, order of batches), writes scores.json beside this file; see README.md
"""

import importlib.util
import json
import pathlib

import torch
import transformers

FOLDER = pathlib.Path(__file__).parent
TUNING = FOLDER.parent / "tuning"
PROJECTIONS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]

spec = importlib.util.spec_from_file_location("tuning", TUNING / "make.py")
tuning = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tuning)


def main():
    torch.set_num_threads(1)
    golden = json.loads((TUNING / "golden.json").read_text())
    model = tuning.load(TUNING / "model")
    parameters = dict(model.named_parameters())
    weights = [parameters[f"model.layers.{layer}.{name}.weight"] for layer in range(model.config.num_hidden_layers) for name in PROJECTIONS]
    gradients = []
    for batch in tuning.batches(golden["examples"], golden["warm_up_steps"]):
        model.zero_grad()
        tuning.mean_loss(model, batch).backward()
        gradients.append([weight.grad.double() for weight in weights])
    scores = {"mean_abs_sum": [], "abs_mean_sum": [], "mean_abs_per_step": []}
    for steps in zip(*gradients):
        total = sum(steps)
        scores["mean_abs_sum"] += tuning.blocks_of(total.abs()).mean((2, 3)).flatten().tolist()
        scores["abs_mean_sum"] += tuning.blocks_of(total).mean((2, 3)).abs().flatten().tolist()
        scores["mean_abs_per_step"] += sum(tuning.blocks_of(step.abs()).mean((2, 3)) for step in steps).flatten().tolist()
    (FOLDER / "scores.json").write_text(json.dumps(
        {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}} | scores) + "\n")


if __name__ == "__main__":
    main()
