package io.inlay.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.inlay.generation.GenerationEngine;
import io.inlay.generation.ModelCatalog;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import jakarta.inject.Inject;
import java.io.IOException;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A client that hangs up, over a bare socket: what it asked for is not computed to the end. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class ClientGoneTest {

    private static final int REQUESTS = 20;
    /** Tokens of each answer, were it finished: so hot a model hardly ever draws the end. */
    private static final int MOST_ANSWERS = 12;
    private static final int WHOLE = 480;

    @TestHTTPResource("/v1/completions")
    URI address;

    @Inject
    ModelCatalog models;

    private GenerationEngine engine;

    @BeforeEach
    void ready() {
        Api.awaitReady();
        engine = models.resolve("alice", "inlay-tiny").engine();
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void a_generation_stops_when_its_client_is_gone(boolean stream) throws IOException {
        // Drawn answers end when they end; some of a handful are long.
        int whole = 0;
        for (int i = 0; i < MOST_ANSWERS && whole <= WHOLE; i++) {
            whole += Api.json(Api.alice(), body(false)).post("/v1/completions").jsonPath().getInt("usage.completion_tokens");
        }
        assertThat(whole).as("tokens of %d answers that somebody waits for", MOST_ANSWERS).isGreaterThan(WHOLE);
        long before = engine.figures().tokens();
        for (int i = 0; i < REQUESTS; i++) {
            hangUp(stream);
        }
        await().atMost(Duration.ofSeconds(30)).until(() -> engine.load() == 0);
        assertThat(engine.figures().tokens() - before).isLessThan(REQUESTS * WHOLE / 4);
        assertThat(engine.figures().cacheBytes()).isZero();
    }

    private static String body(boolean stream) {
        return "{\"model\": \"inlay-tiny\", \"prompt\": [10], \"max_tokens\": " + WHOLE + ", \"temperature\": 3, \"stream\": " + stream + "}";
    }

    private void hangUp(boolean stream) throws IOException {
        String body = body(stream);
        long before = engine.figures().tokens();
        try (Socket socket = new Socket(address.getHost(), address.getPort())) {
            socket.getOutputStream().write(("POST " + address.getPath() + " HTTP/1.1\r\nHost: " + address.getHost()
                    + "\r\nContent-Type: application/json\r\nAuthorization: Bearer " + TestServer.ALICE + "\r\nContent-Length: "
                    + body.length() + "\r\n\r\n" + body).getBytes(StandardCharsets.US_ASCII));
            if (stream) {
                assertThat(new String(socket.getInputStream().readNBytes(15), StandardCharsets.US_ASCII)).isEqualTo("HTTP/1.1 200 OK");
            } else {
                // A drawn answer can be over between two looks: tokens counted since are as good a sign that it began.
                await().pollDelay(Duration.ZERO).pollInterval(Duration.ofMillis(1)).atMost(Duration.ofSeconds(30))
                        .until(() -> engine.load() > 0 || engine.figures().tokens() > before);
            }
        }
    }
}
