package io.inlay.tuning;

import java.time.Duration;

/**
 * One step of training, after it.
 *
 * @param step counted from 1
 * @param steps of the run
 * @param loss mean over the batch's targets, in nats, before the step
 * @param learningRate that the step was made with
 * @param gradientNorm of all gradients as one vector, before clipping
 * @param tokens that went through the model
 * @param targets tokens that were predicted
 * @param elapsed time that the step took
 */
public record StepReport(int step, int steps, double loss, double learningRate, double gradientNorm, int tokens, int targets,
        Duration elapsed) {
}
