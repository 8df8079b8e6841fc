package io.inlay.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.tuning.Metric;
import java.util.List;
import java.util.TreeMap;

/**
 * What a job's own events tell of its course, for its report: where the warm-up's sums lived, metrics by step, the best of each. Read
 * from the events rather than remembered, so that what an earlier attempt measured is there too.
 */
final class JobHistory {

    /** {@code phase} in the data of these events. */
    static final String MEMORY = "warm_up_memory";
    static final String METRICS = "evaluation";

    private JobHistory() {
    }

    /**
     * @param events newest first
     */
    static void addTo(ObjectNode report, List<JobEvent> events) {
        TreeMap<Integer, JsonNode> metrics = new TreeMap<>();
        for (JobEvent event : events.reversed()) {
            JsonNode data = event.data().orElse(report.missingNode());
            switch (data.path("phase").asText()) {
                case MEMORY -> report.set("warm_up_memory", without(data, "phase"));
                case METRICS -> metrics.put(data.path("step").intValue(), without(data, "phase"));
                default -> {
                }
            }
        }
        metrics.values().forEach(report.withArray("metrics")::add);
        if (metrics.isEmpty()) {
            report.remove("metrics");
        }
        for (Metric metric : Metric.values()) {
            // Of equals the earliest: less training for the same.
            metrics.values().stream().filter(each -> each.has(metric.wire()))
                    .reduce((best, each) -> each.path(metric.wire()).asDouble() > best.path(metric.wire()).asDouble() ? each : best)
                    .ifPresent(best -> report.withObject("/best_metrics").putObject(metric.wire())
                            .put("value", best.path(metric.wire()).asDouble()).put("step", best.path("step").intValue()));
        }
    }

    private static ObjectNode without(JsonNode data, String field) {
        ObjectNode copy = data.deepCopy();
        copy.remove(field);
        return copy;
    }
}
