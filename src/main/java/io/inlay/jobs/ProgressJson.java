package io.inlay.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.tuning.Evaluations;
import io.inlay.tuning.TuningProgress;
import java.util.Optional;
import java.util.OptionalDouble;

/** A run's progress as JSON. Losses are text that reads back to the same double, also where they are not a number. */
final class ProgressJson {

    private ProgressJson() {
    }

    static ObjectNode write(TuningProgress progress) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        switch (progress) {
            case TuningProgress.WarmingUp(int steps) -> json.put("phase", "warm_up").put("steps", steps);
            case TuningProgress.Training training -> {
                json.put("phase", "training").put("steps", training.steps()).put("tokens", training.tokens());
                training.loss().ifPresent(loss -> json.put("loss", Double.toString(loss)));
                Evaluations evaluations = training.evaluations();
                json.put("evaluated_step", evaluations.step()).put("stale_evaluations", evaluations.stale());
                evaluations.loss().ifPresent(loss -> json.put("validation_loss", Double.toString(loss)));
                evaluations.best().ifPresent(best -> json.put("best_step", best.step())
                        .put("best_validation_loss", Double.toString(best.loss())));
            }
        }
        return json;
    }

    static TuningProgress read(JsonNode json) {
        int steps = json.path("steps").asInt();
        return switch (json.path("phase").asText()) {
            case "warm_up" -> new TuningProgress.WarmingUp(steps);
            case "training" -> new TuningProgress.Training(steps, json.path("tokens").asLong(), number(json, "loss"), evaluations(json));
            default -> throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, "the checkpoint's phase is '" + json.path("phase").asText()
                    + "', which is neither warm_up nor training");
        };
    }

    private static Evaluations evaluations(JsonNode json) {
        Optional<Evaluations.Best> best = json.has("best_step")
                ? Optional.of(new Evaluations.Best(json.get("best_step").asInt(), number(json, "best_validation_loss").orElseThrow()))
                : Optional.empty();
        return new Evaluations(json.path("evaluated_step").asInt(), number(json, "validation_loss"), best,
                json.path("stale_evaluations").asInt());
    }

    private static OptionalDouble number(JsonNode json, String field) {
        return json.has(field) ? OptionalDouble.of(Double.parseDouble(json.get(field).asText())) : OptionalDouble.empty();
    }

    /** For events: {@code training step 40}. */
    static String shown(TuningProgress progress) {
        return switch (progress) {
            case TuningProgress.WarmingUp(int steps) -> "warm-up step " + steps;
            case TuningProgress.Training training -> "training step " + training.steps();
        };
    }
}
