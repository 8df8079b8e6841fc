package io.inlay.jobs;

/**
 * What a job gets where it asks for nothing, and the most that it may ask for.
 *
 * @param budget share of the model's parameters to train
 * @param maxSteps training steps that a job may have
 * @param maxBudget largest budget of a job; methods without one are not bound
 * @param recomputeWhenShort whether layers may be computed twice where memory is short
 */
public record TuningDefaults(double budget, int epochs, int batchSize, double learningRate, int warmUpSteps, int maxSteps,
        double maxBudget, boolean recomputeWhenShort) {
}
