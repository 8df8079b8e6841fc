package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** The reference of drawing against transformers' warpers (tests/golden/sampling, tests/golden/processors) and against exp. */
class ScalarDrawsGoldenTest {

    @Test
    void the_kept_tokens_are_those_of_transformers_warpers() throws IOException {
        JsonNode golden = read("sampling");
        int checked = 0;
        for (JsonNode each : golden.path("cases")) {
            float[] logits = floats(golden.path("logits").path(each.path("logits").asText()));
            Draw draw = settings(each);
            // The warpers mark what they drop with -inf, so what had that logit before does not count as kept there.
            int[] kept = IntStream.of(ScalarDraws.kept(logits, draw)).filter(id -> logits[id] != Float.NEGATIVE_INFINITY).toArray();
            assertThat(kept).as("%s of %s", draw, each.path("logits")).isEqualTo(ints(each.path("kept")));
            checked++;
        }
        assertThat(checked).isEqualTo(golden.path("cases").size()).isGreaterThan(70);
    }

    @Test
    void the_tokens_that_stay_are_those_of_transformers_warpers_with_min_p_last() throws IOException {
        int cut = 0;
        for (JsonNode each : read("processors").path("cases")) {
            int[] kept = ScalarDraws.kept(floats(each.path("processed")), settings(each));
            assertThat(kept).as("%s", settings(each)).isEqualTo(ints(each.path("kept")));
            cut += kept.length < each.path("processed").size() ? 1 : 0;
        }
        assertThat(cut).isGreaterThan(7);
    }

    @Test
    void a_nucleus_that_would_end_inside_a_tie_takes_the_lowest_ids() {
        assertThat(ScalarDraws.kept(new float[] {0, 1, 1, 1, 1, 0}, new Draw(1, 0, 0.5, 0, 0))).containsExactly(1, 2, 3);
    }

    @Test
    void top_p_of_zero_keeps_the_likeliest_alone() {
        assertThat(ScalarDraws.kept(new float[] {1, 4, 4, 2}, new Draw(1, 0, 0, 0, 0))).containsExactly(1);
    }

    @Test
    void a_weight_is_the_exponential_to_a_millionth_and_a_part_of_the_whole() {
        float[] logits = new float[40_000];
        for (int i = 0; i < logits.length; i++) {
            logits[i] = -i * 0.00075f;
        }
        for (double temperature : new double[] {0.01, 0.7, 1, 100}) {
            float scale = new Draw(temperature, 0, 1, 0, 0).scale();
            long[] weights = ScalarDraws.weights(logits, scale);
            assertThat(weights[0]).isEqualTo(Draw.WHOLE);
            for (int i = 0; i < logits.length; i++) {
                double exact = Math.exp((double) (logits[i] * scale)) * Draw.WHOLE;
                assertThat((double) weights[i]).as("e^%s", logits[i] * scale).isCloseTo(exact, within(1 + 1e-6 * exact));
            }
        }
    }

    @Test
    void settings_out_of_range_are_refused_by_name() {
        assertThatThrownBy(() -> new Draw(-1, 0, 1, 0, 0)).hasMessage("a draw's temperature is -1.0; it must be a number from 0 to 100");
        assertThatThrownBy(() -> new Draw(1, -1, 1, 0, 0)).hasMessage("a draw's topK is -1; it must be 0 or a positive number");
        assertThatThrownBy(() -> new Draw(1, 0, Double.NaN, 0, 0)).hasMessage("a draw's topP is NaN; it must be a number from 0 to 1");
        assertThatThrownBy(() -> new Draw(1, 0, 1, 1.5, 0)).hasMessage("a draw's minP is 1.5; it must be a number from 0 to 1");
    }

    private static JsonNode read(String topic) throws IOException {
        return new ObjectMapper().readTree(Path.of("tests/golden", topic, topic + ".json").toFile());
    }

    private static Draw settings(JsonNode each) {
        return new Draw(each.path("temperature").asDouble(), each.path("topK").asInt(), each.path("topP").asDouble(),
                each.path("minP").asDouble(0), 0);
    }

    private static float[] floats(JsonNode array) {
        float[] values = new float[array.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = array.get(i).isTextual() ? Float.NEGATIVE_INFINITY : (float) array.get(i).asDouble();
        }
        return values;
    }

    private static int[] ints(JsonNode array) {
        return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
    }
}
