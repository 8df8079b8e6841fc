package io.inlay.load;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.inlay.generation.ModelCatalog;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import io.quarkus.test.junit.QuarkusTestProfile;
import io.quarkus.test.junit.TestProfile;
import jakarta.inject.Inject;
import java.net.URI;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** {@code ./inlay load} in short, against the server of the tests. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
@TestProfile(LoadTest.Settings.class)
class LoadTest {

    private static final String MODEL = "inlay-tiny";
    private static final double RATE = 15;
    private static final Duration TIME = Duration.ofSeconds(30);

    /** So little memory that deltas come and go, and answers are put aside. */
    public static final class Settings implements QuarkusTestProfile {

        @Override
        public Map<String, String> getConfigOverrides() {
            return Map.of("inlay.files.max-bytes", "10000000", "inlay.generation.cache-bytes", "1100000",
                    "inlay.generation.resident-bytes", "4000000", "inlay.log.access", "false");
        }
    }

    @TestHTTPResource("/")
    URI address;

    @Inject
    ModelCatalog catalog;

    @Test
    void under_mixed_load_every_answer_is_right_every_request_ends_and_nothing_is_left() throws Exception {
        await().atMost(Duration.ofMinutes(2)).until(() -> catalog.engine(MODEL).isPresent());
        try (Target server = new Target(address, TestServer.ADMIN, ProcessHandle.current().pid())) {
            LoadRun.Outcome outcome = new LoadRun(server, catalog.base(MODEL), RATE, "load").run(TIME);
            System.out.println(outcome.table());
            assertThat(outcome.faults()).as(outcome.table()).isEmpty();
            assertThat(outcome.ledger().count("answered")).isGreaterThan(50);
        }
    }
}
