package io.inlay.api;

import static io.inlay.api.Api.admin;
import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static io.inlay.api.Api.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import jakarta.inject.Inject;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Stream;
import javax.sql.DataSource;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

@QuarkusTest
@QuarkusTestResource(TestServer.class)
class KeysTest {

    @Inject
    DataSource database;

    @ConfigProperty(name = "inlay.data")
    Path data;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static Response makeTenant(String name) {
        return json(admin(), Map.of("name", name)).post("/v1/admin/tenants");
    }

    private static Response makeKey(Map<String, Object> body) {
        return json(admin(), body).post("/v1/admin/keys");
    }

    private static int status(String key) {
        return with(key).get("/v1/models").statusCode();
    }

    @Test
    void a_tenant_is_made_and_its_keys_work_until_they_are_revoked() {
        Response tenant = makeTenant("carol");
        assertThat(tenant.statusCode()).as(tenant.asString()).isEqualTo(200);
        assertThat(tenant.jsonPath().getString("object")).isEqualTo("tenant");
        assertThat(tenant.jsonPath().getString("status")).isEqualTo("active");
        Response made = makeKey(Map.of("tenant", "carol", "role", "owner", "label", "CI"));
        assertThat(made.header("Cache-Control")).isEqualTo("no-store");
        String key = made.jsonPath().getString("key");
        String id = made.jsonPath().getString("id");
        assertThat(key).matches("inlay_[0-9a-f]{64}");
        assertThat(id).matches("key-[0-9a-f]{32}");
        assertThat(status(key)).isEqualTo(200);
        Response facts = admin().get("/v1/admin/keys/" + id);
        assertThat(facts.asString()).doesNotContain(key, key.substring(6));
        assertThat(facts.jsonPath().getString("label")).isEqualTo("CI");
        assertThat(facts.jsonPath().getString("role")).isEqualTo("owner");
        long used = facts.jsonPath().getLong("last_used_at");
        assertThat(used % 60).isZero();
        assertThat(used).isBetween(System.currentTimeMillis() / 1000 - 130, System.currentTimeMillis() / 1000);
        assertThat(admin().queryParam("tenant", "carol").get("/v1/admin/keys").jsonPath().getList("data.id",
                String.class)).containsExactly(id);
        Response revoked = admin().delete("/v1/admin/keys/" + id);
        assertThat(revoked.jsonPath().getLong("revoked_at")).isPositive();
        assertThat(status(key)).isEqualTo(401);
        assertThat(admin().delete("/v1/admin/keys/" + id).asString()).isEqualTo(revoked.asString());
    }

    @Test
    void a_reader_looks_and_generates_and_changes_nothing() {
        String reader = Api.newKey("alice", "reader");
        String file = Api.upload(alice(), "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
        assertThat(with(reader).get("/v1/files/" + file).statusCode()).isEqualTo(200);
        assertThat(json(with(reader), Map.of("model", "small", "prompt", "sky", "max_tokens", 1)).post("/v1/completions").statusCode())
                .isEqualTo(200);
        assertThat(with(reader).delete("/v1/files/" + file).statusCode()).isEqualTo(403);
        assertThat(Api.tryUpload(with(reader), "{}").statusCode()).isEqualTo(403);
        assertThat(alice().get("/v1/files/" + file).statusCode()).isEqualTo(200);
    }

    @Test
    void a_rotated_key_makes_room_for_the_next_at_once_or_after_its_grace() {
        Response first = makeKey(Map.of("tenant", "bob", "role", "reader", "label", "laptop"));
        Response second = admin().post("/v1/admin/keys/" + first.jsonPath().getString("id") + "/rotate?grace_seconds=60");
        assertThat(second.statusCode()).as(second.asString()).isEqualTo(200);
        assertThat(second.jsonPath().getString("role")).isEqualTo("reader");
        assertThat(second.jsonPath().getString("label")).isEqualTo("laptop");
        assertThat(status(first.jsonPath().getString("key"))).isEqualTo(200);
        assertThat(status(second.jsonPath().getString("key"))).isEqualTo(200);
        assertThat(admin().get("/v1/admin/keys/" + first.jsonPath().getString("id")).jsonPath().getLong("expires_at"))
                .isBetween(System.currentTimeMillis() / 1000 + 30, System.currentTimeMillis() / 1000 + 60);
        Response third = admin().post("/v1/admin/keys/" + second.jsonPath().getString("id") + "/rotate");
        assertThat(status(second.jsonPath().getString("key"))).isEqualTo(401);
        assertThat(status(third.jsonPath().getString("key"))).isEqualTo(200);
        Response again = admin().post("/v1/admin/keys/" + second.jsonPath().getString("id") + "/rotate");
        assertThat(again.statusCode()).isEqualTo(409);
        Response never = admin().post("/v1/admin/keys/" + third.jsonPath().getString("id") + "/rotate?grace_seconds=-1");
        assertThat(never.statusCode()).isEqualTo(400);
        assertThat(Api.error(never, "message")).isEqualTo("grace_seconds is -1; it must be 0 or more");
        assertThat(Api.error(again, "message")).endsWith("is revoked or expired; make a new one with POST /v1/admin/keys");
    }

    @Test
    void a_key_with_an_end_works_until_then() {
        String key = makeKey(Map.of("tenant", "bob", "role", "owner", "expires_in_seconds", 2)).jsonPath().getString("key");
        assertThat(status(key)).isEqualTo(200);
        await().atMost(Duration.ofSeconds(10)).until(() -> status(key) == 401);
    }

    @Test
    void a_suspended_tenants_keys_are_refused_until_it_is_active_again() {
        makeTenant("dave");
        String key = Api.newKey("dave", "owner");
        assertThat(admin().post("/v1/admin/tenants/dave/suspend").jsonPath().getString("status")).isEqualTo("suspended");
        Response refused = with(key).get("/v1/models");
        assertThat(refused.statusCode()).isEqualTo(403);
        assertThat(Api.error(refused, "message")).isEqualTo("tenant dave is suspended; ask the server's operator");
        assertThat(admin().post("/v1/admin/tenants/dave/activate").jsonPath().getString("status")).isEqualTo("active");
        assertThat(status(key)).isEqualTo(200);
    }

    @Test
    void a_deleted_tenants_keys_end_for_good_and_its_name_is_not_given_again() {
        makeTenant("erin");
        String key = Api.newKey("erin", "owner");
        assertThat(admin().delete("/v1/admin/tenants/erin").jsonPath().getString("status")).isEqualTo("deletion_requested");
        assertThat(status(key)).isEqualTo(401);
        for (Response answer : List.of(admin().post("/v1/admin/tenants/erin/activate"), makeTenant("Erin"),
                makeKey(Map.of("tenant", "erin", "role", "owner")))) {
            assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(409);
        }
        assertThat(Api.error(makeTenant("ERIN"), "message")).isEqualTo("there is a tenant 'erin' already, deletion_requested; choose "
                + "another name than 'ERIN'");
    }

    @Test
    void an_operators_key_can_be_made_and_sees_no_tenants_things() {
        String key = makeKey(Map.of("role", "admin")).jsonPath().getString("key");
        assertThat(with(key).get("/v1/admin/tenants").jsonPath().getList("data.id", String.class)).contains("alice", "bob");
        assertThat(with(key).get("/v1/files").statusCode()).isEqualTo(403);
    }

    @Test
    void what_cannot_be_made_is_refused_with_the_reason() {
        Map<String, Map<String, Object>> refused = Map.of("a key with the role owner needs a 'tenant'", Map.of("role", "owner"),
                "a key with the role admin belongs to no tenant; leave 'tenant' out", Map.of("role", "admin", "tenant", "bob"),
                "role is 'root'; it must be one of admin, owner, reader", Map.of("role", "root", "tenant", "bob"),
                "the body has no field 'role'; it is owner, reader or admin", Map.of("tenant", "bob"),
                "expires_in_seconds is 0; it must be at least 1", Map.of("role", "owner", "tenant", "bob", "expires_in_seconds", 0),
                "expires_in_seconds is 9223372036854775807; it must be at most 3162240000",
                Map.of("role", "owner", "tenant", "bob", "expires_in_seconds", Long.MAX_VALUE),
                "label 'a?b' is not allowed; use 128 characters at most, and no control characters",
                Map.of("role", "owner", "tenant", "bob", "label", "a\nb"));
        refused.forEach((message, body) -> {
            Response answer = makeKey(body);
            assertThat(answer.statusCode()).as(message).isEqualTo(400);
            assertThat(Api.error(answer, "message")).isEqualTo(message);
        });
        Response nobody = makeKey(Map.of("role", "owner", "tenant", "zoe"));
        assertThat(nobody.statusCode()).isEqualTo(404);
        assertThat(Api.error(nobody, "message")).isEqualTo("there is no tenant 'zoe'; GET /v1/admin/tenants lists them");
        assertThat(Api.error(makeTenant("../alice"), "message")).isEqualTo("tenant name '../alice' is not allowed; use letters, "
                + "digits, '.', '_' and '-', 64 at most, beginning with a letter or digit");
        assertThat(Api.error(json(admin(), "{}").post("/v1/admin/tenants"),
                "message")).isEqualTo("the body has no field 'name'; it is required");
        assertThat(Api.error(admin().get("/v1/admin/tenants/zoe"),
                "message")).isEqualTo("there is no tenant 'zoe'; GET /v1/admin/tenants lists them");
        assertThat(Api.error(admin().get("/v1/admin/keys/" + "inlay_" + "0".repeat(64)), "message"))
                .isEqualTo("there is no key with the id 'inlay_(redacted)'; GET /v1/admin/keys lists them");
    }

    @Test
    void a_key_is_in_no_log_no_table_and_no_file() throws SQLException, IOException {
        String key;
        String id;
        List<String> logged = new ArrayList<>();
        try (HeardLog log = new HeardLog(Level.ALL)) {
            Response made = makeKey(Map.of("tenant", "alice", "role", "owner"));
            key = made.jsonPath().getString("key");
            id = made.jsonPath().getString("id");
            assertThat(status(key)).isEqualTo(200);
            assertThat(with(key + "0").get("/v1/models").statusCode()).isEqualTo(401);
            Logger.getLogger("io.inlay.test").fine("heard");
            logged.addAll(log.lines());
        }
        // Where no key belongs, and where Vert.x at its finest level logs every path.
        try (HeardLog log = new HeardLog(Level.INFO)) {
            with(key).get("/v1/files/" + key);
            with(key).delete("/v1/files/" + key);
            admin().delete("/v1/admin/keys/" + key);
            admin().post("/v1/admin/keys/" + id + "/rotate");
            logged.addAll(log.lines());
        }
        String secretPart = key.substring("inlay_".length());
        assertThat(logged).anyMatch(line -> line.contains("heard")).noneMatch(line -> line.contains(secretPart))
                .noneMatch(line -> line.contains(TestServer.ADMIN));
        try (var connection = database.getConnection(); var statement = connection.createStatement();
                var rows = statement.executeQuery("script")) {
            int lines = 0;
            while (rows.next()) {
                lines++;
                assertThat(rows.getString(1)).doesNotContain(secretPart, TestServer.ALICE, TestServer.ADMIN);
            }
            assertThat(lines).isGreaterThan(20);
        }
        try (Stream<Path> files = Files.walk(data)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                assertThat(new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1)).as("%s", file)
                        .doesNotContain(secretPart, TestServer.ALICE, TestServer.ADMIN);
            }
        }
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(data.resolve("access.secret")))).isEqualTo("rw-------");
    }
}
