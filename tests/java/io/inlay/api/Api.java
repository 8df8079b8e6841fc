package io.inlay.api;

import static io.restassured.RestAssured.given;
import static org.awaitility.Awaitility.await;

import io.inlay.server.TestServer;
import io.restassured.path.json.JsonPath;
import io.restassured.response.Response;
import io.restassured.specification.RequestSpecification;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Set;

/** Requests that several tests make. */
final class Api {

    private static final Set<String> ENDED = Set.of("succeeded", "failed", "cancelled");

    private Api() {
    }

    static RequestSpecification alice() {
        return given().header("Authorization", "Bearer " + TestServer.ALICE);
    }

    static RequestSpecification bob() {
        return given().header("Authorization", "Bearer " + TestServer.BOB);
    }

    static RequestSpecification admin() {
        return with(TestServer.ADMIN);
    }

    static RequestSpecification with(String key) {
        return given().header("Authorization", "Bearer " + key);
    }

    /** Makes a key of a tenant that is there, and returns it. */
    static String newKey(String tenant, String role) {
        return json(admin(), Map.of("tenant", tenant, "role", role)).post("/v1/admin/keys").then().statusCode(200).extract().path("key");
    }

    static RequestSpecification json(RequestSpecification who, Object body) {
        return who.contentType("application/json").body(body);
    }

    /** Waits until the models have loaded. */
    static void awaitReady() {
        await().atMost(Duration.ofMinutes(2)).pollInterval(Duration.ofMillis(50))
                .until(() -> given().get("/q/health/ready").statusCode() == 200);
    }

    static Response tryUpload(RequestSpecification who, String content) {
        return who.multiPart("purpose", "fine-tune").multiPart("file", "data.jsonl", content.getBytes(StandardCharsets.UTF_8))
                .post("/v1/files");
    }

    static String upload(RequestSpecification who, String content) {
        return tryUpload(who, content).then().statusCode(200).extract().path("id");
    }

    /** A method of {@code smt} with hyperparameters that a small model takes seconds for. */
    static Map<String, Object> smt(Map<String, Object> hyperparameters) {
        return Map.of("type", "smt", "smt", Map.of("hyperparameters", hyperparameters));
    }

    static Response tryTune(RequestSpecification who, Map<String, Object> body) {
        return json(who, body).post("/v1/fine_tuning/jobs");
    }

    static JsonPath awaitEnd(java.util.function.Supplier<RequestSpecification> who, String job) {
        await().atMost(Duration.ofMinutes(3)).pollInterval(Duration.ofMillis(50))
                .until(() -> ENDED.contains(who.get().get("/v1/fine_tuning/jobs/" + job).jsonPath().getString("status")));
        return who.get().get("/v1/fine_tuning/jobs/" + job).jsonPath();
    }

    static String error(Response response, String field) {
        return response.jsonPath().getString("error." + field);
    }
}
