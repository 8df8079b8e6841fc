package io.inlay.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.inlay.Problem;
import io.inlay.generation.ModelCatalog;
import io.inlay.generation.ServingListener;
import io.smallrye.config.SmallRyeConfigBuilder;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CompositionTest {

    @ParameterizedTest
    @ValueSource(strings = {"0.0", "-1.0", "1.5", "NaN"})
    void a_share_of_the_time_with_which_no_job_could_run_is_refused_at_the_start(String share) {
        InlayConfig config = new SmallRyeConfigBuilder().withMapping(InlayConfig.class).withDefaultValues(Map.of("inlay.tuning.share",
                share))
                .build().getConfigMapping(InlayConfig.class);
        assertThatThrownBy(() -> new Composition(config).jobs(null, null, null, null, "test")).isInstanceOf(Problem.class)
                .hasMessage("inlay.tuning.share is " + share + "; it must be over 0, or jobs would never end while answers are "
                + "generated, and at most 1");
    }

    @ParameterizedTest
    @CsvSource({"cuda:99, cuda:99 cannot be used:", "tpu, names no device; name cpu"})
    void models_of_a_device_that_cannot_be_used_fail_with_the_reason(String device, String reason) {
        InlayConfig config = new SmallRyeConfigBuilder().withMapping(InlayConfig.class).withDefaultValues(Map.of("inlay.device", device,
                "inlay.models.folder", "tests/golden/llama", "inlay.models.names", "llama2-like")).build()
                .getConfigMapping(InlayConfig.class);
        try (ModelCatalog catalog = new Composition(config).catalog(null, ServingListener.NONE)) {
            await().until(() -> catalog.status("llama2-like") == ModelCatalog.Status.FAILED);
            assertThat(catalog.failure("llama2-like")).hasValueSatisfying(told -> assertThat(told).contains(reason));
        }
    }
}
