package io.inlay.tuning;

/** Follows a run, on the run's own thread: what is slow here makes the run slow. */
public interface TuningListener {

    /** Hears nothing. */
    TuningListener NONE = new TuningListener() {
    };

    /** Parameters have been resolved for the model; nothing has been computed yet. */
    default void planned(TuningPlan plan) {
    }

    /** Layers will be computed twice although it was not asked for, since memory is short. */
    default void recomputes(RunMemory memory) {
    }

    /** Memory for the warm-up's sums has been found; the warm-up begins. */
    default void warmUpMemory(WarmUpPlacement placement) {
    }

    /** A warm-up step has been scored. */
    default void warmUp(WarmUpReport report) {
    }

    /** Blocks have been chosen. */
    default void selected(SelectionReport report) {
    }

    /** Weights have moved. */
    default void step(StepReport report) {
    }

    /** The validation examples have been read. */
    default void validated(ValidationReport report) {
    }

    /** Answers to validation examples have been generated and judged. */
    default void measured(MetricReport report) {
    }

    /**
     * One warm-up step, counted from 1.
     *
     * @param loss mean over the batch's targets
     */
    record WarmUpReport(int step, int steps, double loss) {
    }

    /**
     * Loss on the validation examples.
     *
     * @param step training steps made before; 0 is the base
     * @param loss mean over their targets
     */
    record ValidationReport(int step, double loss, int targets) {
    }
}
