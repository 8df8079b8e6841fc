package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.bob;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import io.restassured.specification.RequestSpecification;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Everything that one tenant has, asked for by another: each answer is, to the byte, that for what was never there. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class TenantsApartTest {

    private String file;
    private String job;
    private String model;

    @BeforeEach
    void alice_has_a_file_a_job_and_a_model() {
        Api.awaitReady();
        file = Api.upload(alice(), FineTuningTest.DATA);
        job = Api.tryTune(alice(), Map.of("model", "small", "training_file", file, "suffix", "apart", "method",
                Api.smt(Map.of("max_steps", 1, "warm_up_steps", 1, "budget", 0.1)))).then().statusCode(200).extract().path("id");
        model = Api.awaitEnd(Api::alice, job).getString("fine_tuned_model");
        assertThat(model).startsWith("small:apart@");
    }

    private static Response send(RequestSpecification who, String method, String path, Map<String, Object> body) {
        return body.isEmpty() ? who.request(method, path) : json(who, body).request(method, path);
    }

    /** The same request for what is another's, and for what is not there. */
    private static void assertAlike(String method, String path, Map<String, Object> body, String theirs, String nobodys) {
        Map<String, Object> other = new HashMap<>(body);
        other.replaceAll((_, value) -> value.equals(theirs) ? nobodys : value);
        Response their = send(bob(), method, path.replace("ID", theirs), body);
        Response nobody = send(bob(), method, path.replace("ID", nobodys), other);
        assertThat(their.statusCode()).as("%s %s: %s", method, path, their.asString()).isEqualTo(404);
        assertThat(nobody.statusCode()).isEqualTo(404);
        assertThat(their.asString().replace(theirs, nobodys)).isEqualTo(nobody.asString());
        assertThat(their.headers().asList().stream().map(header -> header.getName()).toList())
                .isEqualTo(nobody.headers().asList().stream().map(header -> header.getName()).toList());
    }

    @Test
    void another_tenants_file_job_events_checkpoints_and_model_are_as_if_they_were_not_there() {
        String noFile = "file-" + "0".repeat(32);
        assertAlike("GET", "/v1/files/ID", Map.of(), file, noFile);
        assertAlike("GET", "/v1/files/ID/content", Map.of(), file, noFile);
        assertAlike("DELETE", "/v1/files/ID", Map.of(), file, noFile);
        String noJob = "ftjob-" + "0".repeat(32);
        for (String end : List.of("", "/events", "/checkpoints")) {
            assertAlike("GET", "/v1/fine_tuning/jobs/ID" + end, Map.of(), job, noJob);
        }
        for (String end : List.of("/cancel", "/pause", "/resume")) {
            assertAlike("POST", "/v1/fine_tuning/jobs/ID" + end, Map.of(), job, noJob);
        }
        String noModel = "small:never@" + model.substring(model.indexOf('@') + 1);
        assertAlike("GET", "/v1/models/ID", Map.of(), model, noModel);
        assertAlike("DELETE", "/v1/models/ID", Map.of(), model, noModel);
        assertAlike("POST", "/v1/inlay/models/ID/verify", Map.of(), model, noModel);
        assertAlike("POST", "/v1/completions", Map.of("model", model, "prompt", "sky", "max_tokens", 1), model, noModel);
        assertAlike("POST", "/v1/chat/completions", Map.of("model", model, "messages", List.of(Map.of("role", "user", "content", "a"))),
                model, noModel);
        Map<String, Object> tune = Map.of("model", "small", "training_file", file, "suffix", "stolen");
        assertAlike("POST", "/v1/fine_tuning/jobs", tune, file, noFile);
    }

    @Test
    void no_list_has_what_is_another_tenants_and_no_page_goes_on_behind_it() {
        for (String path : List.of("/v1/files", "/v1/fine_tuning/jobs", "/v1/models", "/v1/deltas")) {
            assertThat(bob().queryParam("limit", 1000).get(path).asString()).as(path).doesNotContain(file, job, "apart");
            assertThat(alice().queryParam("limit", 1000).get(path).asString()).as(path).containsAnyOf(file, job, "apart");
        }
        Response theirs = bob().queryParam("after", file).get("/v1/files");
        Response nobodys = bob().queryParam("after", "file-0").get("/v1/files");
        assertThat(theirs.statusCode()).isEqualTo(nobodys.statusCode()).isEqualTo(400);
        assertThat(theirs.asString().replace(file, "file-0")).isEqualTo(nobodys.asString());
    }

    @Test
    void all_is_still_there_for_its_owner_after_another_has_tried() {
        another_tenants_file_job_events_checkpoints_and_model_are_as_if_they_were_not_there();
        assertThat(alice().get("/v1/files/" + file).statusCode()).isEqualTo(200);
        assertThat(alice().get("/v1/fine_tuning/jobs/" + job).jsonPath().getString("status")).isEqualTo("succeeded");
        assertThat(alice().get("/v1/models/" + model).statusCode()).isEqualTo(200);
    }

    @Test
    void ids_are_random_and_tell_nothing_of_how_many_there_are() {
        Supplier<String> upload = () -> Api.upload(alice(), FineTuningTest.DATA);
        String first = upload.get();
        String second = upload.get();
        assertThat(first).matches("file-[0-9a-f]{32}");
        assertThat(job).matches("ftjob-[0-9a-f]{32}");
        int same = 0;
        for (int i = 5; i < first.length(); i++) {
            same += first.charAt(i) == second.charAt(i) ? 1 : 0;
        }
        assertThat(same).isLessThan(16);
    }
}
