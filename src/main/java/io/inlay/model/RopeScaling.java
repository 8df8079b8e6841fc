package io.inlay.model;

/** How rotary frequencies are stretched beyond the length that the model was first trained for. */
public sealed interface RopeScaling {

    /** Frequencies as they are. */
    record None() implements RopeScaling {
    }

    /** Every frequency divided by {@code factor} (position interpolation). */
    record Linear(double factor) implements RopeScaling {
    }

    /** LLaMA 3.1: low frequencies divided by {@code factor}, high ones kept, a ramp between. */
    record Llama3(double factor, double lowFrequencyFactor, double highFrequencyFactor, int originalPositions) implements RopeScaling {
    }
}
