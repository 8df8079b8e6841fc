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
 * @param validationLoss after the last step; empty without validation examples
 */
public record TuningOutcome(TuningPlan plan, List<TensorBlocks> blocks, List<WholeTensor> tensors, Optional<SelectionReport> selection,
        int steps, long tokens, double trainingLoss, OptionalDouble validationLoss) {

    public TuningOutcome {
        blocks = List.copyOf(blocks);
        tensors = List.copyOf(tensors);
    }
}
