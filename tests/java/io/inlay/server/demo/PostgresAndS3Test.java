package io.inlay.server.demo;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.inlay.Problem;
import io.inlay.server.TestServer;
import io.inlay.store.PostgresServer;
import io.inlay.store.S3Server;
import java.io.IOException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The packaged server as a user starts it, on PostgreSQL and S3 by its settings alone; killed, and started again. */
@Timeout(300)
class PostgresAndS3Test {

    private static final Path JAR = Path.of("target/quarkus-app/quarkus-run.jar").toAbsolutePath();
    private static final String DATA = "{\"prompt\": \"sky is\", \"completion\": \" blue\"}\n";

    @TempDir
    private Path root;
    private PostgresServer postgres;
    private S3Server s3;
    private String database;

    @BeforeEach
    void start() throws Exception {
        requirePackaged();
        TestServer.copyModel(root.resolve("base/small"));
        postgres = PostgresServer.start();
        database = postgres.create("inlay");
        Files.createDirectories(root.resolve("objects"));
        s3 = new S3Server(root.resolve("objects"));
        s3.client().createBucket(create -> create.bucket("deltas"));
    }

    @AfterEach
    void stop() throws Exception {
        if (s3 != null) {
            s3.close();
        }
        if (postgres != null) {
            postgres.close();
        }
    }

    /** An old package would pass for the code that is there. */
    private static void requirePackaged() throws IOException {
        assertThat(JAR).as("the packaged server; ./inlay test makes it, and so does ./mvnw package -DskipTests").exists();
        try (Stream<Path> sources = Files.walk(Path.of("src/main"))) {
            long packaged = JAR.toFile().lastModified();
            List<Path> newer = sources.filter(file -> Files.isRegularFile(file) && file.toFile().lastModified() > packaged).toList();
            assertThat(newer).as("sources newer than the packaged server; ./inlay test packages it anew").isEmpty();
        }
    }

    private ServerProcess server() throws IOException {
        Map<String, String> settings = new TreeMap<>(Map.of("inlay.models.folder", root.resolve("base").toString(), "inlay.data",
                root.resolve("data").toString(), "inlay.database.url", database, "inlay.deltas.storage", "s3", "inlay.deltas.s3.bucket",
                "deltas", "inlay.deltas.s3.endpoint", s3.endpoint().toString(), "inlay.access.admin-keys", TestServer.ADMIN));
        settings.put("inlay.store", root.resolve("unused").toString());
        settings.put("aws.accessKeyId", S3Server.IDENTITY);
        settings.put("aws.secretAccessKey", S3Server.CREDENTIAL);
        return ServerProcess.start(root, JAR, List.of("--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow", "-Xmx512m"), settings, root.resolve("server.log"));
    }

    private static InlayClient ready(ServerProcess server, String key) {
        InlayClient client = new InlayClient(server.address(), key);
        await().atMost(Duration.ofMinutes(2)).pollInterval(Duration.ofMillis(100)).until(() -> {
            server.requireAlive();
            return client.isReady();
        });
        return client;
    }

    private static void kill(ServerProcess server) {
        ProcessHandle process = ProcessHandle.of(server.pid()).orElseThrow();
        process.destroyForcibly();
        process.onExit().join();
    }

    private static int deleteTenant(ServerProcess server, String tenant) throws IOException, InterruptedException {
        try (HttpClient http = HttpClient.newHttpClient()) {
            return http.send(HttpRequest.newBuilder(server.address().resolve("/v1/admin/tenants/" + tenant)).DELETE()
                    .header("Authorization", "Bearer " + TestServer.ADMIN).build(), HttpResponse.BodyHandlers.discarding()).statusCode();
        }
    }

    private long objects() {
        return s3.client().listObjectsV2(list -> list.bucket("deltas").prefix("inlay/acme/")).contents().size();
    }

    private static String tune(InlayClient client) throws IOException, InterruptedException {
        String file = client.upload("sky.jsonl", DATA);
        JsonNode job = client.post("/v1/fine_tuning/jobs", Map.of("model", "small", "training_file", file, "suffix", "sky", "method",
                Map.of("type", "smt", "smt", Map.of("hyperparameters", Map.of("max_steps", 1, "warm_up_steps", 1, "budget", 0.1)))));
        String path = "/v1/fine_tuning/jobs/" + job.path("id").asText();
        await().atMost(Duration.ofMinutes(1)).until(() -> client.get(path).path("status").asText().equals("succeeded"));
        return path;
    }

    @Test
    void what_was_published_answers_and_is_all_there_after_a_kill_and_what_was_half_erased_is_erased() throws Exception {
        String key;
        String job;
        String digest;
        String answer;
        try (ServerProcess server = server(); InlayClient admin = ready(server, TestServer.ADMIN)) {
            admin.post("/v1/admin/tenants", Map.of("name", "acme"));
            key = admin.post("/v1/admin/keys", Map.of("tenant", "acme", "role", "owner")).path("key").asText();
            try (InlayClient acme = new InlayClient(server.address(), key)) {
                job = tune(acme);
                digest = acme.get("/v1/deltas/small:sky@1").path("delta").path("file_digest").asText();
                answer = acme.complete("small:sky@1", "sky is", 8);
            }
            kill(server);
        }
        assertThat(objects()).isEqualTo(1);
        assertThat(root.resolve("unused")).doesNotExist();
        assertThat(root.resolve("data/inlay.mv.db")).doesNotExist();
        deleteAll(root.resolve("data/s3-cache"));

        try (ServerProcess server = server(); InlayClient acme = ready(server, key)) {
            assertThat(acme.get("/v1/deltas/small:sky@1").path("delta").path("file_digest").asText()).isEqualTo(digest)
                    .startsWith("sha256:");
            assertThat(acme.complete("small:sky@1", "sky is", 8)).isEqualTo(answer);
            assertThat(acme.get(job).path("fine_tuned_model").asText()).isEqualTo("small:sky@1");
            assertThat(acme.get("/v1/files").path("data")).hasSize(1);
            assertThat(acme.get("/v1/deltas/usage").path("versions").asInt()).isEqualTo(1);
            assertThat(deleteTenant(server, "acme")).isEqualTo(200);
            kill(server);
        }

        try (ServerProcess server = server(); InlayClient admin = ready(server, TestServer.ADMIN); InlayClient acme = new InlayClient(
                server.address(), key)) {
            await().atMost(Duration.ofMinutes(1)).until(() -> admin.get("/v1/admin/tenants/acme").path("erasure").path("status").asText()
                    .equals("done"));
            JsonNode receipt = admin.get("/v1/admin/tenants/acme").path("erasure").path("receipt");
            assertThat(receipt.path("jobs").asInt()).isEqualTo(1);
            assertThat(receipt.path("files").asInt()).isEqualTo(1);
            assertThat(receipt.path("file_digests").path(0).asText()).isEqualTo(digest);
            assertThat(objects()).isZero();
            assertThatThrownBy(() -> acme.get("/v1/deltas")).isInstanceOf(Problem.class).hasMessageContaining("answered 401");
        }
    }

    private static void deleteAll(Path folder) throws IOException {
        try (Stream<Path> all = Files.walk(folder)) {
            all.sorted(Comparator.reverseOrder()).forEach(each -> each.toFile().delete());
        }
    }
}
