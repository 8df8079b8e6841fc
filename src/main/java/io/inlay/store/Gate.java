package io.inlay.store;

import io.inlay.Problem;

/** What a version must reach before an alias is moved to it: one metric of its manifest, against a threshold. */
public record Gate(String metric, Comparison comparison, double threshold) {

    /** How the metric and the threshold must stand to each other. */
    public enum Comparison {
        LESS("<"),
        AT_MOST("<="),
        GREATER(">"),
        AT_LEAST(">=");

        private final String sign;

        Comparison(String sign) {
            this.sign = sign;
        }

        /** By its sign. */
        public static Comparison of(String sign) {
            for (Comparison each : values()) {
                if (each.sign.equals(sign)) {
                    return each;
                }
            }
            throw new Problem(Problem.Code.INVALID_REQUEST, "gate.comparison is '" + sign + "'; it must be <, <=, > or >=");
        }

        boolean holds(double value, double threshold) {
            return switch (this) {
                case LESS -> value < threshold;
                case AT_MOST -> value <= threshold;
                case GREATER -> value > threshold;
                case AT_LEAST -> value >= threshold;
            };
        }
    }

    public Gate {
        if (metric == null || metric.isBlank() || Double.isNaN(threshold)) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "a gate needs metric, comparison and threshold, such as validation_loss <= 0.5");
        }
    }

    /**
     * Lets a version pass, or not.
     *
     * @throws Problem {@code CONFLICT}
     */
    public void require(DeltaVersion version) {
        Double value = version.manifest().metrics().get(metric);
        if (value == null) {
            throw new Problem(Problem.Code.CONFLICT, version.model() + " has no metric " + metric + "; it has "
                    + version.manifest().metrics().keySet());
        }
        if (!comparison.holds(value, threshold)) {
            throw new Problem(Problem.Code.CONFLICT, version.model() + " does not pass the gate: its " + metric + " is " + value + ", it must be "
                    + comparison.sign + " " + threshold + "; the alias stays where it is");
        }
    }
}
