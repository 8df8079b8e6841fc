package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.bob;
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
class FilesTest {

    private static final String LINE = "{\"prompt\": \"é\", \"completion\": \"b\"}\n";

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    @Test
    void a_file_is_kept_listed_read_back_and_deleted() {
        String id = Api.upload(alice(), LINE);
        Response facts = alice().get("/v1/files/" + id);
        assertThat(facts.jsonPath().getString("object")).isEqualTo("file");
        assertThat(facts.jsonPath().getString("purpose")).isEqualTo("fine-tune");
        assertThat(facts.jsonPath().getString("filename")).isEqualTo("data.jsonl");
        assertThat(facts.jsonPath().getLong("bytes")).isEqualTo(LINE.getBytes(java.nio.charset.StandardCharsets.UTF_8).length);
        assertThat(facts.jsonPath().getLong("created_at")).isBetween(1_700_000_000L, 99_000_000_000L);
        assertThat(new String(alice().get("/v1/files/" + id + "/content").asByteArray(), java.nio.charset.StandardCharsets.UTF_8))
                .isEqualTo(LINE);
        assertThat(alice().get("/v1/files").jsonPath().getList("data.id", String.class)).contains(id);
        assertThat(alice().delete("/v1/files/" + id).jsonPath().getBoolean("deleted")).isTrue();
        assertThat(alice().get("/v1/files/" + id).statusCode()).isEqualTo(404);
        assertThat(alice().delete("/v1/files/" + id).statusCode()).isEqualTo(404);
    }

    @Test
    void another_tenants_file_is_as_if_it_were_not_there() {
        String id = Api.upload(alice(), LINE);
        for (Response answer : List.of(bob().get("/v1/files/" + id), bob().get("/v1/files/" + id + "/content"), bob().delete("/v1/files/" + id))) {
            assertThat(answer.statusCode()).isEqualTo(404);
            assertThat(Api.error(answer, "code")).isEqualTo("not_found");
            assertThat(Api.error(answer, "message")).isEqualTo("there is no file '" + id + "'; GET /v1/files lists yours");
        }
        assertThat(bob().get("/v1/files").jsonPath().getList("data.id", String.class)).doesNotContain(id);
        assertThat(alice().get("/v1/files/" + id).statusCode()).isEqualTo(200);
    }

    @Test
    void an_empty_file_is_refused() {
        Response answer = Api.tryUpload(alice(), "");
        assertThat(answer.statusCode()).isEqualTo(400);
        assertThat(Api.error(answer, "code")).isEqualTo("invalid_training_file");
        assertThat(Api.error(answer, "message")).isEqualTo("file 'data.jsonl' is empty; upload JSONL, one example a line");
    }

    @Test
    void a_file_over_the_limit_is_refused_and_not_kept() {
        long before = alice().queryParam("limit", 1000).get("/v1/files").jsonPath().getList("data").size();
        Response answer = Api.tryUpload(alice(), "x".repeat(TestServer.MAX_FILE + 1));
        assertThat(answer.statusCode()).isEqualTo(413);
        assertThat(Api.error(answer, "code")).isEqualTo("payload_too_large");
        assertThat(Api.error(answer, "message")).contains("over the limit of 200000 bytes", "inlay.files.max-bytes");
        assertThat(alice().queryParam("limit", 1000).get("/v1/files").jsonPath().getList("data")).hasSize((int) before);
    }

    @Test
    void a_form_without_file_or_with_another_purpose_is_refused_by_field() {
        Response nothing = alice().multiPart("purpose", "fine-tune").post("/v1/files");
        assertThat(nothing.statusCode()).isEqualTo(400);
        assertThat(Api.error(nothing, "message")).startsWith("the form has no field 'file'");
        Response purpose = alice().multiPart("purpose", "vision").multiPart("file", "a.jsonl", LINE.getBytes()).post("/v1/files");
        assertThat(purpose.statusCode()).isEqualTo(400);
        assertThat(Api.error(purpose, "message")).isEqualTo("the form's field 'purpose' is 'vision'; it must be fine-tune");
    }

    @Test
    void a_file_that_a_job_needs_cannot_be_deleted() {
        String file = Api.upload(alice(), LINE);
        String job = Api.tryTune(alice(), java.util.Map.of("model", "small", "training_file", file, "method",
                Api.smt(java.util.Map.of("max_steps", 20_000, "budget", 0.1)))).then().statusCode(200).extract().path("id");
        Response answer = alice().delete("/v1/files/" + file);
        assertThat(answer.statusCode()).isEqualTo(409);
        assertThat(Api.error(answer, "message")).contains("is needed by job " + job);
        assertThat(alice().post("/v1/fine_tuning/jobs/" + job + "/cancel").statusCode()).isEqualTo(200);
        Api.awaitEnd(Api::alice, job);
        assertThat(alice().delete("/v1/files/" + file).statusCode()).isEqualTo(200);
    }

    @Test
    void pages_go_on_behind_the_last_item() {
        String first = Api.upload(bob(), LINE);
        String second = Api.upload(bob(), LINE);
        Response page = bob().queryParam("limit", 1).get("/v1/files");
        assertThat(page.jsonPath().getList("data")).hasSize(1);
        assertThat(page.jsonPath().getBoolean("has_more")).isTrue();
        String last = page.jsonPath().getString("data[0].id");
        assertThat(bob().queryParam("after", last).get("/v1/files").jsonPath().getList("data.id", String.class)).doesNotContain(last)
                .containsAnyOf(first, second);
        assertThat(Api.error(bob().queryParam("limit", 0).get("/v1/files"), "message")).isEqualTo("limit is 0; it must be 1 to 10000");
        assertThat(bob().queryParam("after", "file-unknown").get("/v1/files").statusCode()).isEqualTo(400);
    }
}
