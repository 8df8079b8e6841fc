package io.inlay.tuning;

import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * What a run leaves behind. Values live in the arena that the run was given.
 *
 * @param plan as it was carried out
 * @param blocks the trained blocks; after LoRA, DoRA and full fine-tuning all blocks of the linears that have changed
 * @param tensors what has changed and is not blocks: embeddings and norms after full fine-tuning, linears that no edge divides
 * @param selection which blocks were trained; empty for methods that select nothing
 * @param steps made
 * @param tokens that went through the model in training, warm-up not counted
 * @param trainingLoss of the last step
 * @param validationLoss of the values that are left here: the last evaluation's, or the best one's where the best was kept; empty without
 *        validation examples
 * @param best the evaluation with the lowest loss, whether its values were kept or not; empty where nothing was evaluated after a step
 */
public record TuningOutcome(TuningPlan plan, List<TensorBlocks> blocks, List<WholeTensor> tensors, Optional<SelectionReport> selection,
        int steps, long tokens, double trainingLoss, OptionalDouble validationLoss, Optional<Evaluations.Best> best, Ending ending) {

    /** Why there are no more steps. */
    public enum Ending {
        /** All were made. */
        COMPLETED,
        /** Validation had stopped improving. */
        STOPPED_EARLY,
        /** Somebody asked for the end, and the best so far had been kept. */
        CANCELLED
    }

    public TuningOutcome {
        blocks = List.copyOf(blocks);
        tensors = List.copyOf(tensors);
    }
}
