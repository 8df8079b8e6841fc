package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class EvaluationsTest {

    @Test
    void runs_stop_where_transformers_stops_them_and_have_the_same_best() throws IOException {
        JsonNode cases = new ObjectMapper().readTree(Path.of("tests/golden/early-stop/early-stop.json").toFile()).path("cases");
        assertThat(cases).hasSizeGreaterThan(30);
        for (JsonNode each : cases) {
            Evaluations evaluations = Evaluations.NONE;
            int stopped = 0;
            for (int n = 1; n <= each.path("losses").size() && stopped == 0; n++) {
                evaluations = evaluations.with(n, each.path("losses").path(n - 1).asDouble(), each.path("min_delta").asDouble());
                stopped = evaluations.stale() >= each.path("patience").asInt() ? n : 0;
            }
            assertThat(stopped).as("%s", each).isEqualTo(each.path("stopped").asInt(0));
            assertThat(evaluations.best()).as("%s", each)
                    .contains(new Evaluations.Best(each.path("best").asInt(), each.path("best_loss").asDouble()));
        }
    }

    @Test
    void the_base_is_no_candidate_for_the_best_and_a_loss_that_is_no_number_is_never_better() {
        Evaluations base = Evaluations.NONE.with(0, 1, 0);
        assertThat(base.best()).isEmpty();
        assertThat(base.stale()).isZero();
        assertThat(base.loss()).hasValue(1);
        assertThat(base.with(10, Double.NaN, 0)).satisfies(evaluations -> {
            assertThat(evaluations.best()).isEmpty();
            assertThat(evaluations.stale()).isEqualTo(1);
        });
        Evaluations worse = base.with(10, 3, 0).with(20, Double.NaN, 0);
        assertThat(worse.best()).isEqualTo(Optional.of(new Evaluations.Best(10, 3)));
        assertThat(worse.stale()).isEqualTo(1);
    }
}
