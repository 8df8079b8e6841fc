package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.BatchLoss;
import io.inlay.model.LlamaTraining;
import io.inlay.model.PackedBatch;
import java.time.Duration;

/**
 * One optimizer step, the same for every method: gradients of the batch's mean loss, summed over parts that fit into memory; a check that
 * loss and gradients are finite; clipping; AdamW.
 */
public final class TrainingStep {

    /** PyTorch's clip_grad_norm_ adds this to the norm, so that runs can be compared. */
    private static final double CLIP_MARGIN = 1e-6;

    private final LlamaTraining training;
    private final AdamWOptimizer optimizer;
    private final LearningRate learningRate;
    private final double clip;
    private final int microBatchTokens;
    private final Runnable beforePart;

    public TrainingStep(LlamaTraining training, AdamWOptimizer optimizer, LearningRate learningRate, double clip, int microBatchTokens) {
        this(training, optimizer, learningRate, clip, microBatchTokens, () -> {
        });
    }

    /**
     * @param beforePart runs before each part of a batch goes through the model
     */
    public TrainingStep(LlamaTraining training, AdamWOptimizer optimizer, LearningRate learningRate, double clip, int microBatchTokens,
            Runnable beforePart) {
        this.training = training;
        this.optimizer = optimizer;
        this.learningRate = learningRate;
        this.clip = clip;
        this.microBatchTokens = microBatchTokens;
        this.beforePart = beforePart;
    }

    /**
     * Makes one step, counted from 0, of {@code steps}.
     *
     * @throws Problem {@code NOT_FINITE}, before any weight has moved
     */
    public StepReport take(int step, int steps, PackedBatch batch) {
        long started = System.nanoTime();
        int targets = batch.targetCount();
        if (targets == 0) {
            throw new IllegalArgumentException("the batch of step " + (step + 1) + " has no target; nothing can be learnt from it");
        }
        training.zeroGradients();
        training.beginStep(step);
        double sum = 0;
        for (PackedBatch part : Packing.split(batch, microBatchTokens)) {
            beforePart.run();
            BatchLoss loss = training.forwardBackward(part, 1f / targets);
            sum += loss.sum();
        }
        double rate = learningRate.at(step, steps);
        double loss = sum / targets;
        requireFinite("loss", loss, step, steps, rate);
        double norm = optimizer.gradientNorm();
        requireFinite("gradient norm", norm, step, steps, rate);
        optimizer.step(rate, Math.min(1, clip / (norm + CLIP_MARGIN)));
        return new StepReport(step + 1, steps, loss, rate, norm, batch.tokens().length, targets,
                Duration.ofNanos(System.nanoTime() - started));
    }

    private static void requireFinite(String what, double value, int step, int steps, double rate) {
        if (Double.isFinite(value)) {
            return;
        }
        String advice = step == 0
                ? "nothing has been trained yet, so the base model itself gives this on the training data; check its weights"
                : "training has diverged; try again with a learning_rate below " + rate + ", or with ramp_steps";
        throw new Problem(Problem.Code.NOT_FINITE, "the " + what + " of step " + (step + 1) + " of " + steps + " is " + value + "; "
                + advice);
    }
}
