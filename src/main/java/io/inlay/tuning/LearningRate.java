package io.inlay.tuning;

/**
 * The learning rate over a run, as transformers' schedules have it: a linear rise from 0 over {@code rampSteps}, then the shape down to 0
 * at the end. (The rise is called ramp because warm-up means something else in SMT.)
 *
 * @param peak the rate at the end of the ramp
 * @param rampSteps steps of the rise; 0 starts at the peak
 */
public record LearningRate(double peak, Shape shape, int rampSteps) {

    /** What the rate does after the ramp. */
    public enum Shape {
        LINEAR,
        COSINE,
        CONSTANT
    }

    public LearningRate {
        Hyperparameter.above("learning_rate", peak, 0, 1);
        Hyperparameter.present("schedule", shape);
        Hyperparameter.within("ramp_steps", rampSteps, 0, 1_000_000);
    }

    public static LearningRate constant(double rate) {
        return new LearningRate(rate, Shape.CONSTANT, 0);
    }

    public static LearningRate linear(double peak) {
        return new LearningRate(peak, Shape.LINEAR, 0);
    }

    /** The rate of a step, counted from 0, of a run of {@code steps}. */
    public double at(int step, int steps) {
        if (step < rampSteps) {
            return peak * step / rampSteps;
        }
        double progress = (double) (step - rampSteps) / Math.max(1, steps - rampSteps);
        return switch (shape) {
            case LINEAR -> peak * Math.max(0, 1 - progress);
            case COSINE -> peak * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress)));
            case CONSTANT -> peak;
        };
    }
}
