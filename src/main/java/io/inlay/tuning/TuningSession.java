package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.LlamaModel;
import io.inlay.model.PackedBatch;
import io.inlay.tensor.FreeMemory;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Supplier;

/**
 * What the phases of one run share.
 *
 * @param mayRecompute whether layers may be computed twice where memory is short
 */
record TuningSession(LlamaModel model, TuningPlan plan, BatchOrder order, List<TuningExample> validation, TuningListener listener,
        TuningControl control, TuningCheckpoints checkpoints, Pace pace, FreeMemory memory, boolean mayRecompute,
        Optional<Evaluation> evaluation) {

    /** Waits until the next piece of work may begin. */
    void await() {
        pace.await(this::wishedToEnd);
    }

    PackedBatch batch(int step) {
        return Packing.pack(order.batch(step));
    }

    List<PackedBatch> split(PackedBatch batch) {
        return Packing.split(batch, plan.parameters().microBatchTokens());
    }

    /** Whether the run is not to go on; for what takes long between two steps. */
    boolean wishedToEnd() {
        return control.wish() != TuningControl.Wish.GO_ON;
    }

    /** Keeps the state after a step where {@code checkpoint_every} or the time since the last one asks for it. */
    void saveIfDue(TuningProgress progress, Supplier<List<NamedTensor>> tensors) {
        OptionalInt every = plan.parameters().checkpointEvery();
        if (every.isPresent() ? progress.steps() % every.getAsInt() == 0 : checkpoints.due()) {
            checkpoints.save(progress, tensors.get());
        }
    }

    /** Keeps the state and makes the end of a run that is to go on later. */
    Problem suspended(TuningProgress progress, Supplier<List<NamedTensor>> tensors, String where) {
        if (!(progress instanceof TuningProgress.WarmingUp(int steps) && steps == 0)) {
            checkpoints.save(progress, tensors.get());
        }
        return new Problem(Problem.Code.CANCELLED, "the tuning run was suspended " + where + "; run it again to go on from there");
    }

    static Problem cancelled(String where) {
        return new Problem(Problem.Code.CANCELLED, "the tuning run was cancelled " + where + "; it leaves no result");
    }
}
