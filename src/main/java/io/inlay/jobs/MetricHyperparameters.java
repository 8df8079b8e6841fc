package io.inlay.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.tuning.Evaluation;
import io.inlay.tuning.Metric;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** The hyperparameters that say what is measured on the validation file beside its loss; they change nothing of what is trained. */
final class MetricHyperparameters {

    static final List<String> FIELDS = List.of("metrics", "metric_examples", "metric_max_tokens");

    private MetricHyperparameters() {
    }

    /**
     * Reads and checks; empty when no metric is asked for.
     *
     * @throws Problem {@code INVALID_HYPERPARAMETERS} naming field, value and what is allowed
     */
    static Optional<Evaluation.Settings> parse(JsonNode json) {
        int examples = integer(json, "metric_examples", Evaluation.Settings.EXAMPLES);
        int tokens = integer(json, "metric_max_tokens", Evaluation.Settings.MAX_TOKENS);
        JsonNode list = json.path("metrics");
        if (list.isMissingNode() || list.isNull() || list.isArray() && list.isEmpty()) {
            return Optional.empty();
        }
        Set<Metric> metrics = EnumSet.noneOf(Metric.class);
        for (JsonNode each : list.isArray() ? list : List.of(list)) {
            metrics.add(Arrays.stream(Metric.values()).filter(metric -> each.isTextual() && metric.wire().equals(each.asText())).findFirst()
                    .orElseThrow(() -> refused("metrics has " + each + "; there are "
                            + Arrays.stream(Metric.values()).map(Metric::wire).toList())));
        }
        return Optional.of(new Evaluation.Settings(metrics, examples, tokens));
    }

    private static int integer(JsonNode json, String field, int otherwise) {
        JsonNode value = json.path(field);
        if (value.isMissingNode() || value.isNull() || value.isTextual() && value.asText().equals("auto")) {
            return otherwise;
        }
        if (!value.isIntegralNumber() || !value.canConvertToInt()) {
            throw refused(field + " is " + value + "; it must be a whole number, or \"auto\"");
        }
        return value.intValue();
    }

    /** Adds the settings to a description from which {@link #parse} makes the same of them again. */
    static ObjectNode describe(Optional<Evaluation.Settings> settings, ObjectNode all) {
        settings.ifPresent(given -> {
            given.metrics().forEach(metric -> all.withArray("metrics").add(metric.wire()));
            all.put("metric_examples", given.examples()).put("metric_max_tokens", given.maxTokens());
        });
        return all;
    }

    private static Problem refused(String message) {
        return new Problem(Problem.Code.INVALID_HYPERPARAMETERS, message);
    }
}
