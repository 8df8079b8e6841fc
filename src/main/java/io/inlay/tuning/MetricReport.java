package io.inlay.tuning;

import java.util.Collections;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Metrics of the weights at one moment.
 *
 * @param step training steps made before; 0 is the base
 * @param shares of right answers, 0 to 1, by metric
 * @param examples that were answered
 * @param tokens that were generated
 */
public record MetricReport(int step, SortedMap<Metric, Double> shares, int examples, long tokens) {

    public MetricReport {
        shares = Collections.unmodifiableSortedMap(new TreeMap<>(shares));
    }
}
