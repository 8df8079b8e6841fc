package io.inlay.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** OpenAI's Python and Node clients against the server, where tests/clients/install.sh (or .ci/run, which calls it) has put them. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class OtherClientsTest {

    private static final Path CLIENTS = Path.of("tests/clients");

    @TestHTTPResource("/v1")
    URI address;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static String run(String... command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(output).isZero();
        return output.strip();
    }

    private static Path installed(String client) throws IOException, InterruptedException {
        Path folder = Path.of(run("bash", CLIENTS.resolve("install.sh").toString(), "--where")).resolve(client);
        assumeTrue(Files.exists(folder.resolve("complete")), "OpenAI's " + client
                + " client is not installed: tests/clients/install.sh does it");
        return folder;
    }

    @Test
    void openais_python_client_is_served() throws Exception {
        Path folder = installed("python");
        assertThat(run(folder.resolve("bin/python").toString(), CLIENTS.resolve("openai_client.py").toString(), address.toString(),
                TestServer.ALICE)).contains("fine: embeddings").doesNotContain("WRONG");
    }

    @Test
    void openais_node_client_is_served() throws Exception {
        Path folder = installed("node");
        Path script = Files.copy(CLIENTS.resolve("openai_client.mjs"), folder.resolve("openai_client.mjs"),
                StandardCopyOption.REPLACE_EXISTING);
        assertThat(run("node", script.toString(), address.toString(), TestServer.ALICE)).contains("fine: embeddings")
                .doesNotContain("WRONG");
    }
}
