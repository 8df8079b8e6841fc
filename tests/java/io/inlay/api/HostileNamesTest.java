package io.inlay.api;

import static io.inlay.api.Api.admin;
import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import java.io.IOException;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Names that try to be more than names: each is refused as what it is, and no file comes to be by it. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class HostileNamesTest {

    @ConfigProperty(name = "inlay.data")
    Path data;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    /** Known tricks, and random mixtures of their parts. */
    private static List<String> hostile() {
        List<String> parts = List.of("..", "/", "\\", "%2e", "%2F", "%00", "\0", "\n", "\r\n", " ", "'", "\"", ";", "--", "*", "?", "#",
                "$(id)",
                "а", "ａ", "\u202e", "\u200b", "\ud83d\ude00", "\uffff", "alice", "small", ":", "@", "@1", "~", ".", "|", "<", "{", "é");
        List<String> names = new ArrayList<>(List.of("..", "../bob", "..%2fbob", "%2e%2e", "%252e%252e", "a\0b", "аlice", "ａlice",
                "ALICE\u200b",
                "x".repeat(65), "x".repeat(5000), ".hidden", "-rf", "con:", "a/b", "a\\b", "' or 1=1 --", "\u202egnp", "e\u0301"));
        Random random = new Random(7);
        for (int i = 0; i < 30; i++) {
            StringBuilder name = new StringBuilder();
            for (int n = random.nextInt(4) + 1; n > 0; n--) {
                name.append(parts.get(random.nextInt(parts.size())));
            }
            names.add(name.toString());
        }
        return names.stream().filter(name -> !name.matches("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")).toList();
    }

    private static void assertRefused(String name, Response answer) {
        assertThat(answer.statusCode()).as("'%s': %s", name, answer.asString()).isIn(400, 404, 405, 413, 414);
        if (answer.statusCode() != 414) {
            assertThat(Api.error(answer, "message")).as(name).isNotBlank();
        }
    }

    private static String encoded(String name) {
        return URLEncoder.encode(name, StandardCharsets.UTF_8).replace("+", "%20").replace(".", "%2E");
    }

    private List<String> files() throws IOException {
        try (Stream<Path> all = Files.walk(data.getParent())) {
            return all.map(Path::toString).sorted().toList();
        }
    }

    @Test
    void a_hostile_name_in_a_body_is_refused() throws IOException {
        String file = Api.upload(alice(), FineTuningTest.DATA);
        List<String> before = files();
        for (String name : hostile()) {
            assertRefused(name, Api.tryTune(alice(), Map.of("model", "small", "training_file", file, "suffix", name)));
            assertRefused(name, Api.tryTune(alice(), Map.of("model", "small", "training_file", name)));
            assertRefused(name, Api.tryTune(alice(), Map.of("model", "small", "training_file", file, "validation_file", name)));
            assertRefused(name, Api.tryTune(alice(), Map.of("model", name, "training_file", file)));
            assertRefused(name, json(alice(), Map.of("model", "small:" + name, "prompt", "a")).post("/v1/completions"));
            assertRefused(name, json(admin(), Map.of("name", name)).post("/v1/admin/tenants"));
            assertRefused(name, json(admin(), Map.of("tenant", name, "role", "owner")).post("/v1/admin/keys"));
        }
        assertThat(files()).isEqualTo(before);
    }

    @Test
    void a_hostile_name_in_a_path_is_refused() throws IOException {
        List<String> before = files();
        for (String name : hostile()) {
            for (String path : List.of("/v1/files/", "/v1/fine_tuning/jobs/", "/v1/models/", "/v1/models/small:")) {
                if (!(path + name).endsWith("/v1/models/small")) {
                    assertRefused(name, alice().urlEncodingEnabled(false).get(path + encoded(name)));
                    assertRefused(name, alice().urlEncodingEnabled(false).delete(path + encoded(name)));
                }
            }
            assertRefused(name, alice().urlEncodingEnabled(false).get("/v1/files?after=" + encoded(name)));
            assertRefused(name, admin().urlEncodingEnabled(false).get("/v1/admin/tenants/" + encoded(name)));
            assertRefused(name, admin().urlEncodingEnabled(false).post("/v1/admin/keys/" + encoded(name) + "/rotate"));
        }
        assertThat(files()).isEqualTo(before);
    }

    @Test
    void a_file_with_a_control_character_in_its_name_is_refused() {
        Response answer = alice().multiPart("purpose", "fine-tune").multiPart("file", "a\u0001b.jsonl",
                FineTuningTest.DATA.getBytes()).post("/v1/files");
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(400);
        assertThat(Api.error(answer, "message")).isEqualTo("the file's name 'a?b.jsonl' has a control character; rename it");
    }
}
