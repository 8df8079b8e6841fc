"""Lets transformers decide after which evaluation to stop and which one was best: EarlyStoppingCallback and Trainer's own rule for the best."""
import json
import pathlib
import random
from types import SimpleNamespace

import transformers
from transformers import EarlyStoppingCallback, Trainer, TrainerControl, TrainerState

SEED = 23


def follow(losses, patience, min_delta):
    """Evaluations as Trainer makes them: the callback hears of a loss first, then the best so far is updated."""
    args = SimpleNamespace(metric_for_best_model="eval_loss", greater_is_better=False, load_best_model_at_end=True, output_dir="",
                           save_strategy="no")
    state = TrainerState()
    control = TrainerControl()
    callback = EarlyStoppingCallback(early_stopping_patience=patience, early_stopping_threshold=min_delta)
    best = None
    for n, loss in enumerate(losses, start=1):
        state.global_step = n
        callback.on_evaluate(args, state, control, metrics={"eval_loss": loss})
        if Trainer._determine_best_metric(SimpleNamespace(args=args, state=state), {"eval_loss": loss}, trial=None):
            best = n
        if control.should_training_stop:
            return {"stopped": n, "best": best, "best_loss": state.best_metric}
    return {"stopped": None, "best": best, "best_loss": state.best_metric}


def main():
    draw = random.Random(SEED)
    cases = []
    for _ in range(40):
        loss = 2.0
        losses = []
        for _ in range(draw.randint(1, 25)):
            loss = round(loss + draw.gauss(-0.02, 0.1), 3)
            losses.append(loss)
        patience = draw.randint(1, 4)
        min_delta = draw.choice([0.0, 0.0, 0.0302, 0.1007])
        cases.append({"losses": losses, "patience": patience, "min_delta": min_delta, **follow(losses, patience, min_delta)})
    stopped = sum(case["stopped"] is not None for case in cases)
    assert 10 <= stopped <= 35, stopped
    text = {"transformers": transformers.__version__, "seed": SEED, "cases": cases}
    pathlib.Path(__file__).with_name("early-stop.json").write_text(json.dumps(text, indent=1) + "\n")
    print(stopped, "of", len(cases), "stopped")


main()
