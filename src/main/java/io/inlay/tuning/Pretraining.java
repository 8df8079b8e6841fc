package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.PackedBatch;
import io.inlay.model.TrainableModel;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.IntFunction;

/**
 * Trains every parameter of a model on a stream of batches: how the embedded base model was made. Where the weights start is the model's
 * own checkpoint; {@link io.inlay.model.RandomWeights} writes a fresh one.
 */
public final class Pretraining {

    /**
     * What to do.
     *
     * @param clip the gradients' global norm is scaled down to this
     * @param microBatchTokens as in {@link TuningParameters}
     */
    public record Settings(int steps, LearningRate learningRate, AdamWSettings adamW, double clip, int microBatchTokens) {

        public Settings {
            Hyperparameter.within("steps", steps, 1, 100_000_000);
            Hyperparameter.present("learning_rate", learningRate);
            Hyperparameter.present("adamw", adamW);
            Hyperparameter.above("clip", clip, 0, Double.MAX_VALUE);
            Hyperparameter.within("micro_batch_tokens", microBatchTokens, 1, 100_000_000);
        }
    }

    private final LlamaModel model;
    private final Settings settings;

    public Pretraining(LlamaModel model, Settings settings) {
        this.model = model;
        this.settings = settings;
    }

    /**
     * Runs to the end on the calling thread.
     *
     * @param batches the batch of each step, counted from 0
     * @param progress hears of each step after it, and may look at {@code weights}
     * @param weights what moves; starts wherever it is, and holds the result
     * @throws Problem {@code NOT_FINITE} or {@code CANCELLED}; the weights are then those after the last whole step
     */
    public void run(TrainableModel weights, IntFunction<PackedBatch> batches, Consumer<StepReport> progress, BooleanSupplier cancelled) {
        try (LlamaTraining training = new LlamaTraining(model, weights);
                AdamWOptimizer optimizer = new AdamWOptimizer(model.torch(), model.kernels(), settings.adamW(),
                        AdamWOptimizer.slots(weights))) {
            TrainingStep next = new TrainingStep(training, optimizer, settings.learningRate(), settings.clip(),
                    settings.microBatchTokens());
            for (int step = 0; step < settings.steps(); step++) {
                if (cancelled.getAsBoolean()) {
                    throw new Problem(Problem.Code.CANCELLED, "pre-training was cancelled before step " + (step + 1) + " of "
                            + settings.steps());
                }
                progress.accept(next.take(step, settings.steps(), batches.apply(step)));
            }
        }
    }
}
