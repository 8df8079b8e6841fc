package io.inlay.tuning;

import io.inlay.model.LlamaTraining;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * What a tuning run is asked to do. Refuses what no model could do; {@link TuningPlan} refuses what the model at hand cannot.
 *
 * @param epochs passes over the training examples
 * @param maxSteps when present, the run has exactly so many steps, whatever {@code epochs} says
 * @param batchSize sequences per step; the last batch of an epoch may be smaller
 * @param clip the gradients' global norm is scaled down to this
 * @param microBatchTokens tokens that go through the model at once; a larger batch is split between sequences and its gradients added up,
 *        which bounds memory and leaves the step's mean loss the same
 * @param evaluateEvery steps between validations, beside the one at the end; one is then made before the first step too
 * @param seed decides the order of examples and the draw of random blocks
 * @param earlyStop when to end before the last step; needs {@code evaluateEvery} and validation examples
 * @param keepBest whether the result is the values of the evaluation with the lowest loss, not the last ones; needs the same
 * @param checkpointEvery steps between checkpoints; when absent {@link TuningCheckpoints#due} decides
 * @param activations whether layers are computed twice to hold less memory; the bits are the same
 */
public record TuningParameters(TuningMethod method, int epochs, OptionalInt maxSteps, int batchSize, LearningRate learningRate,
        AdamWSettings adamW, double clip, int microBatchTokens, OptionalInt evaluateEvery, long seed, Optional<EarlyStop> earlyStop,
        boolean keepBest, OptionalInt checkpointEvery, LlamaTraining.Activations activations) {

    private static final int MANY = 100_000_000;

    public TuningParameters {
        Hyperparameter.present("method", method);
        Hyperparameter.within("epochs", epochs, 1, 10_000);
        Hyperparameter.present("max_steps", maxSteps).ifPresent(steps -> Hyperparameter.within("max_steps", steps, 1, MANY));
        Hyperparameter.within("batch_size", batchSize, 1, 65_536);
        Hyperparameter.present("learning_rate", learningRate);
        Hyperparameter.present("adamw", adamW);
        Hyperparameter.above("clip", clip, 0, Double.MAX_VALUE);
        Hyperparameter.within("micro_batch_tokens", microBatchTokens, 1, MANY);
        Hyperparameter.present("evaluate_every", evaluateEvery).ifPresent(n -> Hyperparameter.within("evaluate_every", n, 1, MANY));
        Hyperparameter.present("recompute_activations", activations);
        Hyperparameter.present("checkpoint_every", checkpointEvery).ifPresent(n -> Hyperparameter.within("checkpoint_every", n, 1, MANY));
        if (watches(Hyperparameter.present("early_stop_patience", earlyStop), keepBest) && evaluateEvery.isEmpty()) {
            throw Hyperparameter.refused(watcher(earlyStop) + ", but evaluate_every is not given; say after how many steps to validate");
        }
    }

    private static boolean watches(Optional<EarlyStop> earlyStop, boolean keepBest) {
        return earlyStop.isPresent() || keepBest;
    }

    private static String watcher(Optional<EarlyStop> earlyStop) {
        return earlyStop.map(stop -> "early_stop_patience is " + stop.patience()).orElse("keep_best is true");
    }

    /**
     * Refuses what needs validation examples where there are none.
     *
     * @throws io.inlay.Problem {@code INVALID_HYPERPARAMETERS}
     */
    public void requireValidation(int examples) {
        if (examples == 0 && watches(earlyStop, keepBest)) {
            throw Hyperparameter.refused(watcher(earlyStop) + ", but there is nothing to validate with; give a validation_file");
        }
    }

    /** The defaults of DESIGN.md section 5 for a method. */
    public static Builder of(TuningMethod method) {
        return new Builder(method);
    }

    public Builder toBuilder() {
        Builder builder = new Builder(method).epochs(epochs).batchSize(batchSize).learningRate(learningRate).adamW(adamW).clip(clip)
                .microBatchTokens(microBatchTokens).seed(seed).keepBest(keepBest).activations(activations);
        earlyStop.ifPresent(builder::earlyStop);
        checkpointEvery.ifPresent(builder::checkpointEvery);
        maxSteps.ifPresent(builder::maxSteps);
        evaluateEvery.ifPresent(builder::evaluateEvery);
        return builder;
    }

    /** Collects parameters; {@link #build} checks them. */
    public static final class Builder {

        private TuningMethod method;
        private int epochs = 3;
        private OptionalInt maxSteps = OptionalInt.empty();
        private int batchSize = 16;
        private LearningRate learningRate = LearningRate.linear(1e-4);
        private AdamWSettings adamW = AdamWSettings.DEFAULT;
        private double clip = 1;
        private int microBatchTokens = 2048;
        private OptionalInt evaluateEvery = OptionalInt.empty();
        private long seed = 42;
        private Optional<EarlyStop> earlyStop = Optional.empty();
        private boolean keepBest;
        private OptionalInt checkpointEvery = OptionalInt.empty();
        private LlamaTraining.Activations activations = LlamaTraining.Activations.KEEP;

        private Builder(TuningMethod method) {
            this.method = method;
        }

        public Builder method(TuningMethod value) {
            method = value;
            return this;
        }

        public Builder epochs(int value) {
            epochs = value;
            return this;
        }

        public Builder activations(LlamaTraining.Activations value) {
            activations = value;
            return this;
        }

        public Builder maxSteps(int value) {
            maxSteps = OptionalInt.of(value);
            return this;
        }

        public Builder batchSize(int value) {
            batchSize = value;
            return this;
        }

        public Builder learningRate(LearningRate value) {
            learningRate = value;
            return this;
        }

        public Builder adamW(AdamWSettings value) {
            adamW = value;
            return this;
        }

        public Builder clip(double value) {
            clip = value;
            return this;
        }

        public Builder microBatchTokens(int value) {
            microBatchTokens = value;
            return this;
        }

        public Builder evaluateEvery(int value) {
            evaluateEvery = OptionalInt.of(value);
            return this;
        }

        public Builder seed(long value) {
            seed = value;
            return this;
        }

        public Builder earlyStop(EarlyStop value) {
            earlyStop = Optional.of(value);
            return this;
        }

        public Builder keepBest(boolean value) {
            keepBest = value;
            return this;
        }

        public Builder checkpointEvery(int value) {
            checkpointEvery = OptionalInt.of(value);
            return this;
        }

        public TuningParameters build() {
            return new TuningParameters(method, epochs, maxSteps, batchSize, learningRate, adamW, clip, microBatchTokens, evaluateEvery,
                    seed, earlyStop, keepBest, checkpointEvery, activations);
        }
    }
}
