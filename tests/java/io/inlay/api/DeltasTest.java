package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.bob;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.path.json.JsonPath;
import io.restassured.response.Response;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The delta store over the interface. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class DeltasTest {

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    static void tune(String task, int seed) {
        String id = Api.tryTune(alice(), Map.of("model", "small", "training_file", Api.upload(alice(), FineTuningTest.DATA), "suffix", task,
                "seed", seed, "method", Api.smt(Map.of("max_steps", 1, "warm_up_steps", 1, "budget", 0.1, "block_edge", 16, "learning_rate",
                        0.01 * seed)))).then().statusCode(200).extract().path("id");
        assertThat(Api.awaitEnd(Api::alice, id).getString("status")).isEqualTo("succeeded");
    }

    private static Response move(String task, String alias, Object body) {
        return json(alice(), body).put("/v1/deltas/small:" + task + "/aliases/" + alias);
    }

    private static void assertRefused(Response answer, int status, String message) {
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(status);
        assertThat(Api.error(answer, "message")).contains(message);
    }

    @Test
    void versions_are_listed_described_tagged_compared_and_carded() {
        tune("listed", 1);
        tune("listed", 2);
        JsonPath page = alice().get("/v1/deltas?task=listed&limit=1").jsonPath();
        assertThat(page.getList("data.id", String.class)).containsExactly("small:listed@1");
        assertThat(page.getBoolean("has_more")).isTrue();
        assertThat(alice().get("/v1/deltas?task=listed&after=small:listed@1").jsonPath().getList("data.id", String.class))
                .containsExactly("small:listed@2");
        assertThat(json(alice(), Map.of("tags", List.of("good"), "note", "of Monday")).patch("/v1/deltas/small:listed@2").jsonPath()
                .getList("tags", String.class)).containsExactly("good");
        assertThat(alice().get("/v1/deltas?tag=good").jsonPath().getList("data.id", String.class)).containsExactly("small:listed@2");
        JsonPath blocks = alice().get("/v1/deltas/small:listed@1/blocks").jsonPath();
        assertThat(blocks.getInt("block_edge")).isEqualTo(16);
        assertThat(blocks.getList("tensors.matrix", String.class)).contains("self_attn.q_proj");
        assertThat(blocks.getLong("blocks") * 256).isEqualTo(blocks.getLong("values"));
        JsonPath same = alice().get("/v1/deltas/small:listed@1/diff?with=small:listed@1").jsonPath();
        assertThat(same.getInt("common")).isEqualTo(blocks.getInt("blocks"));
        assertThat(same.getDouble("distance")).isZero();
        JsonPath other = alice().get("/v1/deltas/small:listed@1/diff?with=small:listed").jsonPath();
        assertThat(other.getString("second")).isEqualTo("small:listed@2");
        assertThat(other.getDouble("distance")).isPositive();
        assertThat(alice().get("/v1/deltas/small:listed@2/card").asString()).startsWith("# small:listed@2\n\nof Monday\n")
                .contains("| tags | good |", "| training_loss |");
        assertThat(alice().get("/v1/deltas/usage").jsonPath().getLong("versions")).isGreaterThanOrEqualTo(2);
        assertRefused(bob().get("/v1/deltas/small:listed@1"), 404, "there is no version 'small:listed@1'; GET /v1/deltas lists yours");
        assertRefused(alice().get("/v1/deltas?after=nonsense"), 400, "after is 'nonsense'");
    }

    @Test
    void an_alias_answers_is_promoted_through_a_gate_rolled_back_and_guards_its_version() {
        tune("named", 1);
        tune("named", 2);
        assertThat(move("named", "production", Map.of("version", 1, "expected", 0)).statusCode()).isEqualTo(200);
        Response answer = json(alice(), Map.of("model", "small:named@production", "prompt", "sky is", "max_tokens", 1)).post("/v1/completions");
        assertThat(answer.header("Inlay-Delta")).isEqualTo("small:named@1");
        assertRefused(move("named", "production", Map.of("version", 2, "expected", 2)), 409, "names version 1, not 2 as expected");
        assertRefused(move("named", "production", Map.of("version", 2, "gate", Map.of("metric", "training_loss", "comparison", "<",
                "threshold", -1))), 409, "does not pass the gate: its training_loss is");
        assertThat(move("named", "production", Map.of("version", 2, "gate", Map.of("metric", "training_loss", "comparison", ">",
                "threshold", -1))).statusCode()).isEqualTo(200);
        assertRefused(alice().delete("/v1/deltas/small:named@2"), 409, "is what [production] names");
        assertThat(alice().post("/v1/deltas/small:named/aliases/production/rollback").jsonPath().getInt("version")).isEqualTo(1);
        assertThat(alice().get("/v1/deltas/small:named/aliases/production/history").jsonPath().getList("data.kind", String.class))
                .containsExactly("move", "move", "rollback");
        assertThat(alice().get("/v1/deltas?alias=production&task=named").jsonPath().getList("data.id", String.class))
                .containsExactly("small:named@1");
        assertRefused(alice().delete("/v1/deltas/small:named@production"), 400, "delete one by its number, small:named@1");
        assertThat(alice().delete("/v1/deltas/small:named@2").jsonPath().getBoolean("deleted")).isTrue();
        assertThat(alice().delete("/v1/deltas/small:named/aliases/production").statusCode()).isEqualTo(200);
        assertThat(alice().get("/v1/deltas/small:named/aliases").jsonPath().getList("data")).isEmpty();
        assertRefused(move("named", "7", Map.of("version", 1)), 400, "alias name '7' is not allowed");
    }

    @Test
    void a_version_is_taken_out_brought_in_under_another_tenant_and_refused_when_a_bit_is_flipped() {
        tune("moved", 3);
        byte[] file = alice().get("/v1/deltas/small:moved@1/content").then().statusCode(200).extract().asByteArray();
        Response brought = bob().multiPart("file", "moved.safetensors", file).multiPart("task", "brought").post("/v1/deltas");
        assertThat(brought.statusCode()).as(brought.asString()).isEqualTo(200);
        assertThat(brought.jsonPath().getString("id")).isEqualTo("small:brought@1");
        assertThat(brought.jsonPath().getString("digest")).isEqualTo(alice().get("/v1/deltas/small:moved@1").jsonPath()
                .getString("delta.digest"));
        assertThat(bob().get("/v1/deltas/small:brought@1/content").asByteArray()).isEqualTo(file);
        file[file.length - 9] ^= 4;
        assertRefused(bob().multiPart("file", "moved.safetensors", file).post("/v1/deltas"), 400, "the uploaded file");
        assertRefused(bob().multiPart("file", "moved.safetensors", new byte[] {1, 2, 3}).post("/v1/deltas"), 400, "the uploaded file");
        JsonPath receipt = json(bob(), Map.of("tenant", "bob")).post("/v1/deltas/erase").jsonPath();
        assertThat(receipt.getInt("versions")).isPositive();
        assertThat(bob().get("/v1/deltas").jsonPath().getList("data")).isEmpty();
        assertRefused(json(bob(), Map.of("tenant", "alice")).post("/v1/deltas/erase"), 400, "must be your own tenant's name");
    }

    @Test
    void deltas_are_composed_with_a_report_of_conflicts_and_subtracted_again() {
        tune("one", 1);
        tune("two", 2);
        Map<String, Object> both = Map.of("first", "small:one", "second", "small:two", "task", "both");
        JsonPath difference = alice().get("/v1/deltas/small:one/diff?with=small:two").jsonPath();
        int conflicts = difference.getInt("changed");
        Map<String, Object> second = new java.util.HashMap<>(both);
        second.put("policy", "second");
        JsonPath composed = json(alice(), second).post("/v1/deltas/compose").jsonPath();
        assertThat(composed.getInt("conflicts")).isEqualTo(conflicts);
        assertThat(composed.getString("delta.id")).isEqualTo("small:both@1");
        JsonPath details = alice().get("/v1/deltas/small:both@1").jsonPath();
        assertThat(details.getString("parents[0]")).startsWith("small:one@1 sha256:");
        JsonPath withSecond = alice().get("/v1/deltas/small:both@1/diff?with=small:two").jsonPath();
        assertThat(withSecond.getInt("changed")).isZero();
        assertThat(withSecond.getInt("only_first")).isEqualTo(difference.getInt("only_first"));
        if (conflicts > 0) {
            assertRefused(json(alice(), both).post("/v1/deltas/compose"), 409, "choose whose to keep by the policy first or second");
        }
        Response left = json(alice(), Map.of("from", "small:both@1", "what", "small:two", "task", "left")).post("/v1/deltas/subtract");
        if (difference.getInt("only_first") > 0) {
            assertThat(left.jsonPath().getString("delta.id")).isEqualTo("small:left@1");
            assertThat(alice().get("/v1/deltas/small:left@1/diff?with=small:two").jsonPath().getInt("common")).isZero();
        } else {
            assertRefused(left, 400, "nothing would be left but the base");
        }
        tune("one", 3);
        assertThat(json(alice(), Map.of("keep_last", 1)).post("/v1/deltas/small:one/retention").statusCode()).isEqualTo(200);
    }
}
