package io.inlay.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.model.Projection;
import io.inlay.tuning.AdamWSettings;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.TuningMethod;
import io.inlay.tuning.TuningParameters;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Hyperparameters as clients write them: flat JSON, every field optional, {@code "auto"} for the default. Unknown fields are refused by
 * name, so that a misspelt one is not silently the default.
 */
public final class Hyperparameters {

    /** All fields, with what they mean in {@link TuningParameters}, {@link TuningMethod.Smt} and {@link TuningMethod.LowRank}. */
    public static final Set<String> FIELDS = new TreeSet<>(List.of("method", "n_epochs", "max_steps", "batch_size", "learning_rate", "learning_rate_multiplier",
            "schedule", "ramp_steps", "beta1", "beta2", "epsilon", "weight_decay", "clip", "micro_batch_tokens", "evaluate_every", "seed",
            "budget", "block_edge", "targets", "warm_up_steps", "score", "strategy", "blocks_per_matrix", "rank", "alpha", "dropout"));

    private static final List<String> METHODS = List.of("smt", "random_blocks", "lora", "dora", "full");

    /** Fields that only some methods know, by field; the others are every method's. */
    private static final SortedMap<String, List<String>> FIELDS_OF_METHODS = new TreeMap<>(Map.ofEntries(
            Map.entry("budget", List.of("smt", "random_blocks")), Map.entry("block_edge", List.of("smt", "random_blocks")),
            Map.entry("targets", List.of("smt", "random_blocks", "lora", "dora")), Map.entry("warm_up_steps", List.of("smt")),
            Map.entry("score", List.of("smt")), Map.entry("strategy", List.of("smt")), Map.entry("blocks_per_matrix", List.of("smt")),
            Map.entry("rank", List.of("lora", "dora")), Map.entry("alpha", List.of("lora", "dora")),
            Map.entry("dropout", List.of("lora", "dora"))));

    private final JsonNode json;
    private final TuningDefaults defaults;

    private Hyperparameters(JsonNode json, TuningDefaults defaults) {
        this.json = json;
        this.defaults = defaults;
    }

    /**
     * Reads and checks.
     *
     * @throws Problem {@code INVALID_HYPERPARAMETERS} naming field, value and what is allowed
     */
    public static TuningParameters parse(JsonNode json, TuningDefaults defaults) {
        for (Iterator<String> names = json.fieldNames(); names.hasNext();) {
            String name = names.next();
            if (!FIELDS.contains(name)) {
                throw refused("hyperparameter '" + name + "' is unknown; there are " + FIELDS);
            }
        }
        return new Hyperparameters(json, defaults).parameters();
    }

    private TuningParameters parameters() {
        TuningParameters.Builder builder = TuningParameters.of(method());
        LearningRate.Shape shape = choice("schedule", LearningRate.Shape.class, LearningRate.Shape.LINEAR);
        double rate = number("learning_rate", defaults.learningRate()) * number("learning_rate_multiplier", 1);
        builder.learningRate(new LearningRate(rate, shape, integer("ramp_steps", 0)));
        AdamWSettings adamW = AdamWSettings.DEFAULT;
        builder.adamW(new AdamWSettings(number("beta1", adamW.beta1()), number("beta2", adamW.beta2()), number("epsilon", adamW.epsilon()),
                number("weight_decay", adamW.weightDecay())));
        builder.epochs(integer("n_epochs", defaults.epochs())).batchSize(integer("batch_size", defaults.batchSize()));
        if (given("max_steps")) {
            builder.maxSteps(integer("max_steps", 0));
        }
        if (given("clip")) {
            builder.clip(number("clip", 0));
        }
        if (given("micro_batch_tokens")) {
            builder.microBatchTokens(integer("micro_batch_tokens", 0));
        }
        if (given("evaluate_every")) {
            builder.evaluateEvery(integer("evaluate_every", 0));
        }
        if (given("seed")) {
            builder.seed(whole("seed"));
        }
        return builder.build();
    }

    private TuningMethod method() {
        String name = json.path("method").asText("smt");
        if (!METHODS.contains(name)) {
            throw refused("method is '" + name + "'; supported are " + METHODS);
        }
        FIELDS_OF_METHODS.forEach((field, methods) -> {
            if (given(field) && !methods.contains(name)) {
                throw refused("hyperparameter '" + field + "' is none of method " + name + "; only " + String.join(", ", methods)
                        + (methods.size() == 1 ? " has it" : " have it") + "; leave it out");
            }
        });
        return switch (name) {
            case "lora" -> lowRank(TuningMethod.LowRank.Kind.LORA);
            case "dora" -> lowRank(TuningMethod.LowRank.Kind.DORA);
            case "full" -> new TuningMethod.FullFineTuning();
            default -> ofBlocks(name);
        };
    }

    private TuningMethod lowRank(TuningMethod.LowRank.Kind kind) {
        TuningMethod.LowRank usual = TuningMethod.LowRank.of(kind);
        return new TuningMethod.LowRank(kind, integer("rank", usual.rank()), number("alpha", usual.alpha()),
                number("dropout", usual.dropout()), targets(usual.targets()));
    }

    private TuningMethod ofBlocks(String name) {
        double budget = number("budget", defaults.budget());
        if (budget > defaults.maxBudget()) {
            throw refused("budget is " + budget + "; this server trains at most " + defaults.maxBudget()
                    + " of a model's parameters in a job (inlay.tuning.max-budget)");
        }
        OptionalInt edge = given("block_edge") ? OptionalInt.of(integer("block_edge", 0)) : OptionalInt.empty();
        return switch (name) {
            case "smt" -> new TuningMethod.Smt(budget, edge, targets(TuningMethod.ATTENTION),
                    integer("warm_up_steps", defaults.warmUpSteps()),
                    choice("score", TuningMethod.Score.class, TuningMethod.Score.MEAN_ABS_SUM), strategy());
            case "random_blocks" -> new TuningMethod.RandomBlocks(budget, edge, targets(TuningMethod.ATTENTION));
            default -> throw new IllegalStateException(name + " is no method of blocks");
        };
    }

    private TuningMethod.Strategy strategy() {
        String name = given("strategy") ? json.get("strategy").asText() : "global";
        return switch (name) {
            case "global" -> new TuningMethod.Strategy.Global();
            case "per_matrix" -> new TuningMethod.Strategy.PerMatrix(integer("blocks_per_matrix", 1));
            default -> throw refused("strategy is '" + name + "'; it must be global or per_matrix");
        };
    }

    private Set<Projection> targets(Set<Projection> otherwise) {
        if (!given("targets")) {
            return otherwise;
        }
        JsonNode list = json.get("targets");
        Set<Projection> targets = EnumSet.noneOf(Projection.class);
        for (JsonNode each : list.isArray() ? list : List.of(list)) {
            targets.add(constant("targets", each.asText(), Projection.class));
        }
        return targets;
    }

    private boolean given(String field) {
        JsonNode value = json.get(field);
        return value != null && !value.isNull() && !(value.isTextual() && value.asText().equals("auto"));
    }

    private double number(String field, double otherwise) {
        if (!given(field)) {
            return otherwise;
        }
        if (!json.get(field).isNumber()) {
            throw refused(field + " is " + json.get(field) + "; it must be a number, or \"auto\"");
        }
        return json.get(field).doubleValue();
    }

    private int integer(String field, int otherwise) {
        if (!given(field)) {
            return otherwise;
        }
        if (!json.get(field).isIntegralNumber() || !json.get(field).canConvertToInt()) {
            throw refused(field + " is " + json.get(field) + "; it must be a whole number, or \"auto\"");
        }
        return json.get(field).intValue();
    }

    private long whole(String field) {
        if (!json.get(field).isIntegralNumber() || !json.get(field).canConvertToLong()) {
            throw refused(field + " is " + json.get(field) + "; it must be a whole number");
        }
        return json.get(field).longValue();
    }

    private <E extends Enum<E>> E choice(String field, Class<E> type, E otherwise) {
        return given(field) ? constant(field, json.get(field).asText(), type) : otherwise;
    }

    private static <E extends Enum<E>> E constant(String field, String name, Class<E> type) {
        for (E each : type.getEnumConstants()) {
            if (wire(each).equals(name)) {
                return each;
            }
        }
        throw refused(field + " is '" + name + "'; it must be one of "
                + Arrays.stream(type.getEnumConstants()).map(each -> wire(each)).toList());
    }

    /** The parameters with every default resolved; {@link #parse} makes the same of them again, whatever the defaults are by then. */
    static ObjectNode describe(TuningParameters parameters) {
        ObjectNode all = JsonNodeFactory.instance.objectNode().put("method", parameters.method().wire())
                .put("n_epochs", parameters.epochs()).put("batch_size", parameters.batchSize())
                .put("learning_rate", parameters.learningRate().peak()).put("schedule", wire(parameters.learningRate().shape()))
                .put("ramp_steps", parameters.learningRate().rampSteps()).put("beta1", parameters.adamW().beta1())
                .put("beta2", parameters.adamW().beta2()).put("epsilon", parameters.adamW().epsilon())
                .put("weight_decay", parameters.adamW().weightDecay()).put("clip", parameters.clip())
                .put("micro_batch_tokens", parameters.microBatchTokens()).put("seed", parameters.seed());
        parameters.maxSteps().ifPresent(steps -> all.put("max_steps", steps));
        parameters.evaluateEvery().ifPresent(steps -> all.put("evaluate_every", steps));
        if (parameters.method() instanceof TuningMethod.OfBlocks blocks) {
            all.put("budget", blocks.budget());
            blocks.blockEdge().ifPresent(edge -> all.put("block_edge", edge));
            blocks.targets().forEach(target -> all.withArray("targets").add(wire(target)));
        }
        if (parameters.method() instanceof TuningMethod.LowRank adapters) {
            all.put("rank", adapters.rank()).put("alpha", adapters.alpha()).put("dropout", adapters.dropout());
            adapters.targets().forEach(target -> all.withArray("targets").add(wire(target)));
        }
        if (parameters.method() instanceof TuningMethod.Smt smt) {
            all.put("warm_up_steps", smt.warmUpSteps()).put("score", wire(smt.score()));
            switch (smt.strategy()) {
                case TuningMethod.Strategy.Global _ -> all.put("strategy", "global");
                case TuningMethod.Strategy.PerMatrix each -> all.put("strategy", "per_matrix").put("blocks_per_matrix", each.blocks());
            }
        }
        return all;
    }

    private static String wire(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }

    private static Problem refused(String message) {
        return new Problem(Problem.Code.INVALID_HYPERPARAMETERS, message);
    }
}
