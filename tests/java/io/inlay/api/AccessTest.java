package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.restassured.RestAssured.given;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

@QuarkusTest
@QuarkusTestResource(TestServer.class)
class AccessTest {

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    @Test
    void a_missing_key_is_refused_with_what_to_send() {
        Response answer = given().get("/v1/models");
        assertThat(answer.statusCode()).isEqualTo(401);
        assertThat(Api.error(answer, "code")).isEqualTo("invalid_api_key");
        assertThat(Api.error(answer, "type")).isEqualTo("authentication_error");
        assertThat(Api.error(answer, "message")).isEqualTo("no API key was given; send it as 'Authorization: Bearer KEY'");
    }

    @Test
    void a_wrong_key_is_refused_on_every_resource() {
        for (String path : List.of("/v1/models", "/v1/models/small", "/v1/files", "/v1/files/x", "/v1/files/x/content", "/v1/fine_tuning/jobs",
                "/v1/fine_tuning/jobs/x", "/v1/fine_tuning/jobs/x/events", "/v1/fine_tuning/jobs/x/checkpoints", "/v1/deltas", "/v1/deltas/x/export",
                "/v1/nothing")) {
            Response answer = given().header("Authorization", "Bearer " + TestServer.ALICE + "x").get(path);
            assertThat(answer.statusCode()).as(path).isEqualTo(401);
            assertThat(Api.error(answer, "message")).as(path).startsWith("the API key is not one of this server's");
        }
        for (String path : List.of("/v1/completions", "/v1/chat/completions", "/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs/x/cancel",
                "/v1/inlay/models/small/verify", "/v1/deltas/import")) {
            assertThat(Api.json(given().header("Authorization", "Basic abc"), "{}").post(path).statusCode()).as(path).isEqualTo(401);
        }
        assertThat(given().delete("/v1/files/x").statusCode()).isEqualTo(401);
        assertThat(given().multiPart("file", "x", new byte[] {1}).post("/v1/files").statusCode()).isEqualTo(401);
    }

    @Test
    void health_and_the_interface_description_need_no_key() {
        assertThat(given().get("/q/health/live").statusCode()).isEqualTo(200);
        Response ready = given().get("/q/health/ready");
        assertThat(ready.jsonPath().getString("checks.find { it.name == 'models' }.data.small")).isEqualTo("ready");
        String description = given().get("/q/openapi").asString();
        assertThat(description).contains("/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/files", "/v1/fine_tuning/jobs",
                "/v1/fine_tuning/jobs/{job}/events", "/v1/deltas", "/v1/inlay/models/{model}/verify");
    }

    @Test
    void an_unknown_path_or_method_is_an_error_in_the_same_shape() {
        Response nothing = alice().get("/v1/nothing");
        assertThat(nothing.statusCode()).isEqualTo(404);
        assertThat(Api.error(nothing, "message")).isEqualTo("there is nothing at this path; /q/openapi lists what there is");
        Response method = alice().delete("/v1/completions");
        assertThat(method.statusCode()).isEqualTo(405);
        assertThat(Api.error(method, "message")).startsWith("this path does not take this method");
        Response type = alice().contentType("text/plain").body("hello").post("/v1/completions");
        assertThat(type.statusCode()).isEqualTo(415);
        assertThat(Api.error(type, "message")).startsWith("this path does not take this content type");
    }
}
