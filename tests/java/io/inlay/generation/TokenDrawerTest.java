package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.Draw;
import io.inlay.kernels.Kernels;
import io.inlay.model.Asked;
import io.inlay.model.Given;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Bias, penalties and log-probabilities against transformers' processors: tests/golden/processors. */
class TokenDrawerTest {

    private static final Kernels KERNELS = CpuKernels.best();

    private static JsonNode golden() throws IOException {
        return new ObjectMapper().readTree(Path.of("tests/golden/processors/processors.json").toFile());
    }

    private static float[] floats(JsonNode list) {
        float[] values = new float[list.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) list.get(i).asDouble();
        }
        return values;
    }

    private static int[] ints(JsonNode list) {
        return IntStream.range(0, list.size()).map(i -> list.get(i).asInt()).toArray();
    }

    private static Steering steering(JsonNode each) {
        Map<Integer, Float> bias = new HashMap<>();
        each.path("bias").properties().forEach(entry -> bias.put(Integer.parseInt(entry.getKey()), (float) entry.getValue().asDouble()));
        return new Steering(bias, each.path("frequency").asDouble(), each.path("presence").asDouble(), each.path("repetition").asDouble(),
                Optional.empty());
    }

    @Test
    void log_probabilities_are_those_after_transformers_processors_and_before_its_warpers() throws IOException {
        JsonNode golden = golden();
        float[] logits = floats(golden.path("logits"));
        for (JsonNode each : golden.path("cases")) {
            TokenDrawer drawer = new TokenDrawer(new GenerationRequest(Optional.empty(), ints(each.path("prompt")),
                    new Sampling(1, 1, 0, OptionalLong.of(1)), 100, List.of(), steering(each), logits.length), KERNELS, null, "m", 100);
            for (int token : ints(each.path("drawn"))) {
                float[] forced = new float[logits.length];
                forced[token] = 1e6f;
                assertThat(drawer.next(new Given.Logits(forced))).isEqualTo(token);
            }
            int drawn = drawer.next(new Given.Logits(logits));
            double[] logprobs = each.path("logprobs").valueStream().mapToDouble(JsonNode::asDouble).toArray();
            assertThat(drawer.scores().logProbability()).isCloseTo(logprobs[drawn], within(1e-5));
            assertThat(drawer.scores().likeliest()).hasSize(logits.length);
            double before = 0;
            for (TokenScores.Alternative alternative : drawer.scores().likeliest()) {
                assertThat(alternative.logProbability()).as("%s of %s", alternative.token(), each.path("bias"))
                        .isCloseTo(logprobs[alternative.token()], within(1e-5)).isLessThanOrEqualTo(before);
                before = alternative.logProbability();
            }
        }
    }

    @Test
    void draws_with_min_p_never_leave_what_stays() {
        float[] logits = {3, 2.9f, 1, 0, -1, 2.95f};
        Sampler sampler = new Sampler(new Sampling(1, 1, 0, 0.8, OptionalLong.of(4)), "m", KERNELS);
        assertThat(IntStream.range(0, 500).map(_ -> sampler.next(logits)).distinct().sorted().toArray()).containsExactly(0, 1, 5);
    }

    @Test
    void the_models_logits_are_only_read() {
        float[] logits = {1, 2, 3};
        TokenDrawer drawer = new TokenDrawer(new GenerationRequest(Optional.empty(), new int[] {1}, Sampling.GREEDY, 5, List.of(),
                new Steering(Map.of(0, 10f), 1, 1, 1, Optional.empty()), -1), KERNELS, null, "m", 5);
        assertThat(drawer.asks()).isEqualTo(Asked.LOGITS);
        assertThat(drawer.next(new Given.Logits(logits))).isZero();
        assertThat(drawer.scores()).isNull();
        assertThat(logits).containsExactly(1, 2, 3);
    }

    /** Without a say in its logits or a question about them. */
    private static TokenDrawer plain(Sampling sampling) {
        return new TokenDrawer(new GenerationRequest(Optional.empty(), new int[] {1}, sampling, 5, List.of()), KERNELS, null, "m", 5);
    }

    @Test
    void a_token_is_asked_for_where_nothing_is_done_to_its_logits_and_is_the_one_that_the_host_would_draw() {
        Sampling sampling = new Sampling(1.3, 0.9, 20, 0.01, OptionalLong.of(8));
        TokenDrawer there = plain(sampling);
        TokenDrawer here = plain(sampling);
        SplittableRandom random = new SplittableRandom(2);
        for (int i = 0; i < 50; i++) {
            float[] logits = new float[100];
            for (int v = 0; v < logits.length; v++) {
                logits[v] = (float) (3 * random.nextGaussian());
            }
            Draw draw = ((Asked.Token) there.asks()).draw();
            assertThat(there.asks()).as("asked again before there is a token").isEqualTo(new Asked.Token(draw));
            int id = KERNELS.draw(logits, draw);
            assertThat(there.next(new Given.Token(id))).isEqualTo(id);
            assertThat(here.next(new Given.Logits(logits))).isEqualTo(id);
            assertThat(there.scores()).isNull();
        }
    }

    @Test
    void what_is_refused_where_it_would_be_drawn_is_the_problem_that_it_is_here() {
        TokenDrawer drawer = plain(Sampling.GREEDY);
        assertThat(drawer.asks()).isEqualTo(new Asked.Token(Draw.GREEDY));
        assertThatThrownBy(() -> drawer.next(new Given.Refused(7, Float.NaN))).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.NOT_FINITE))
                .hasMessageStartingWith("model m gave NaN as the logit of token 7; its weights are damaged");
    }

    @Test
    void each_choice_draws_with_a_seed_of_its_own_and_the_first_with_the_requests() {
        Sampling sampling = new Sampling(1, 1, 0, OptionalLong.of(7));
        assertThat(sampling.ofChoice(0)).isEqualTo(sampling);
        assertThat(IntStream.range(0, 100).mapToObj(sampling::ofChoice).distinct()).hasSize(100);
        assertThat(sampling.ofChoice(3)).isEqualTo(sampling.ofChoice(3));
        assertThat(Sampling.GREEDY.ofChoice(3)).isEqualTo(Sampling.GREEDY);
    }

    @Test
    void what_is_out_of_bounds_is_refused_with_the_bounds() {
        assertThatThrownBy(() -> new Steering(Map.of(3, 101f), 0, 0, 1, Optional.empty())).isInstanceOf(Problem.class)
                .hasMessage("logit_bias of token 3 is 101.0; it must be a number from -100 to 100");
        assertThatThrownBy(() -> new Steering(Map.of(), 2.5, 0, 1, Optional.empty()))
                .hasMessage("frequency_penalty is 2.5; it must be a number from -2 to 2");
        assertThatThrownBy(() -> new Steering(Map.of(), 0, Double.NaN, 1, Optional.empty()))
                .hasMessage("presence_penalty is NaN; it must be a number from -2 to 2");
        assertThatThrownBy(() -> new Steering(Map.of(), 0, 0, 0, Optional.empty()))
                .hasMessage("repetition_penalty is 0.0; it must be a number over 0, at most 100; 1 is none");
        assertThatThrownBy(() -> new Sampling(1, 1, 0, 1.5, OptionalLong.empty()))
                .hasMessage("min_p is 1.5; it must be a number from 0 (off) to 1");
    }
}
