package io.inlay.api;

import static io.inlay.api.Api.admin;
import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static io.inlay.api.Api.with;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What the operator lets a tenant store, and what happens beyond it. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class QuotasTest {

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static Response set(String tenant, String body) {
        return json(admin(), body).put("/v1/admin/tenants/" + tenant + "/quota");
    }

    private static void assertFull(Response refused, String message) {
        assertThat(refused.statusCode()).as(refused.asString()).isEqualTo(507);
        assertThat(Api.error(refused, "message")).contains(message).contains("ask the server's operator for more");
    }

    @Test
    void a_tenants_own_quota_is_in_its_usage_and_holds_for_uploads_imports_and_jobs_until_it_is_taken_back() {
        DeltasTest.tune("measured", 1);
        byte[] file = alice().get("/v1/deltas/small:measured@1/content").then().statusCode(200).extract().asByteArray();
        json(admin(), Map.of("name", "grace")).post("/v1/admin/tenants").then().statusCode(200);
        String key = Api.newKey("grace", "owner");
        assertThat(with(key).get("/v1/deltas/usage").jsonPath().getMap("$")).containsEntry("quota_versions", null)
                .containsEntry("quota_bytes", null);

        Response given = set("grace", "{\"bytes\": " + 2 * file.length + ", \"versions\": 1}");
        assertThat(given.statusCode()).as(given.asString()).isEqualTo(200);
        assertThat(given.jsonPath().getInt("own_versions")).isEqualTo(1);
        with(key).multiPart("file", "a.safetensors", file).post("/v1/deltas").then().statusCode(200);
        assertFull(with(key).multiPart("file", "a.safetensors", file).post("/v1/deltas"), "has 1 versions; its quota is 1 versions");
        assertFull(with(key).contentType("application/octet-stream").body(file).post("/v1/deltas/import"), "its quota is 1 versions");
        assertThat(with(key).get("/v1/deltas/usage").jsonPath().getLong("quota_versions")).isEqualTo(1);
        assertThat(with(key).get("/v1/deltas/usage").jsonPath().getLong("quota_bytes")).isEqualTo(2L * file.length);

        assertThat(set("grace", "{\"bytes\": " + (2 * file.length - 1) + "}").jsonPath().getMap("$").get("own_versions")).isNull();
        assertFull(with(key).multiPart("file", "a.safetensors", file).post("/v1/deltas"),
                "its quota is " + (2 * file.length - 1) + " bytes");
        set("grace", "{\"versions\": 1}");
        String job = Api.tryTune(with(key), Map.of("model", "small", "training_file", Api.upload(with(key), FineTuningTest.DATA), "method",
                Api.smt(Map.of("max_steps", 1, "warm_up_steps", 1, "budget", 0.1)))).then().statusCode(200).extract().path("id");
        assertThat(Api.awaitEnd(() -> with(key), job).getString("error.code")).isEqualTo("storage_full");

        assertThat(admin().get("/v1/admin/tenants/grace/quota").jsonPath().getLong("usage.bytes")).isGreaterThanOrEqualTo(file.length);
        assertThat(set("grace", "{}").statusCode()).isEqualTo(200);
        with(key).multiPart("file", "a.safetensors", file).post("/v1/deltas").then().statusCode(200);
        json(with(key), Map.of("tenant", "grace")).post("/v1/deltas/erase").then().statusCode(200);
        assertThat(admin().get("/v1/admin/tenants/grace/quota").jsonPath().getLong("usage.versions")).isZero();
    }

    @Test
    void what_is_no_quota_is_refused_with_the_reason() {
        Map<String, String> refused = Map.of("{\"bytes\": -1}", "bytes is -1; it must be a whole number, 0 for no bound, or null for the "
                + "server's setting", "{\"versions\": 1.5}", "versions is 1.5; it must be a whole number, 0 for no bound, or null for the "
                + "server's setting", "{\"byte\": 1}", "the body has a field 'byte'; a quota has 'bytes' and 'versions'", "[]",
                "the body is no JSON object; give {\"bytes\": ..., \"versions\": ...}");
        refused.forEach((body, message) -> {
            Response answer = set("bob", body);
            assertThat(answer.statusCode()).as(body).isEqualTo(400);
            assertThat(Api.error(answer, "message")).isEqualTo(message);
        });
        Response nobody = set("zoe", "{}");
        assertThat(nobody.statusCode()).isEqualTo(404);
        assertThat(Api.error(nobody, "message")).isEqualTo("there is no tenant 'zoe'; GET /v1/admin/tenants lists them");
        assertThat(json(alice(), "{}").put("/v1/admin/tenants/alice/quota").statusCode()).isEqualTo(403);
    }
}
