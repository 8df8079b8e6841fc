package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.bob;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

@QuarkusTest
@QuarkusTestResource(TestServer.class)
class DeltaExportsTest {

    @ConfigProperty(name = "inlay.store")
    Path store;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static void publish(String task) {
        String id = Api.tryTune(alice(), Map.of("model", "small", "training_file", Api.upload(alice(), FineTuningTest.DATA), "suffix", task,
                "method", Api.smt(FineTuningTest.QUICK))).then().statusCode(200).extract().path("id");
        assertThat(Api.awaitEnd(Api::alice, id).getString("status")).isEqualTo("succeeded");
    }

    private static Response export(String model, String format) {
        return alice().get("/v1/deltas/" + model + "/export?format=" + format);
    }

    private static Response send(String query, byte[] body) {
        return alice().contentType("application/octet-stream").body(body).post("/v1/deltas/import?" + query);
    }

    private static String answer(String model) {
        return json(alice(), Map.of("model", model, "prompt", "sky is", "max_tokens", 4, "temperature", 0)).post("/v1/completions")
                .then().statusCode(200).extract().path("choices[0].text");
    }

    @Test
    void what_is_exported_is_imported_and_answers_the_same() {
        publish("traveller");
        String digest = alice().get("/v1/deltas").jsonPath().getString("data.find { it.id == 'small:traveller@1' }.digest");
        Response file = export("small:traveller", "delta");
        assertThat(file.statusCode()).isEqualTo(200);
        assertThat(file.header("Content-Disposition")).isEqualTo("attachment; filename=\"small-traveller-1.safetensors\"");
        Response again = send("format=delta", file.asByteArray());
        assertThat(again.statusCode()).as(again.asString()).isEqualTo(200);
        assertThat(again.jsonPath().getString("id")).isEqualTo("small:traveller@2");
        assertThat(again.jsonPath().getString("digest")).isEqualTo(digest);
        Response image = send("format=oci&model=small:settled", export("small:traveller@1", "oci").asByteArray());
        assertThat(image.jsonPath().getString("id")).isEqualTo("small:settled@1");
        assertThat(image.jsonPath().getString("digest")).isEqualTo(digest);
        assertThat(answer("small:settled")).isEqualTo(answer("small:traveller@1")).isNotEqualTo(answer("small"));
        assertThat(export("small:settled", "dense").asByteArray()).hasSizeGreaterThan(file.asByteArray().length);
        byte[] merged = export("small:settled", "merged").asByteArray();
        assertThat(new String(merged, 0, 11, StandardCharsets.US_ASCII)).isEqualTo("config.json");
        assertThat(merged.length % 512).isZero();
    }

    @Test
    void its_own_file_and_the_layer_of_an_artifact_are_the_stored_bytes_with_the_digest_of_the_version() throws Exception {
        publish("raw");
        byte[] file = export("small:raw@1", "delta").asByteArray();
        assertThat(alice().get("/v1/deltas/small:raw@1/content").asByteArray()).isEqualTo(file);
        assertThat(Files.readAllBytes(store.resolve("alice/small/raw/1.safetensors"))).isEqualTo(file);
        String digest = "sha256:" + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(file));
        assertThat(alice().get("/v1/deltas/small:raw@1").jsonPath().getString("delta.file_digest")).isEqualTo(digest);
        String image = new String(export("small:raw@1", "oci").asByteArray(), StandardCharsets.ISO_8859_1);
        assertThat(image).contains(new String(file, StandardCharsets.ISO_8859_1))
                .contains("blobs/sha256/" + digest.substring("sha256:".length()) + "\0");
    }

    @Test
    void a_file_that_is_damaged_in_the_store_is_not_exported() throws Exception {
        publish("rotten");
        Path file = store.resolve("alice/small/rotten/1.safetensors");
        byte[] bytes = Files.readAllBytes(file);
        bytes[bytes.length - 9] ^= 4;
        Files.write(file, bytes);
        for (String format : List.of("delta", "oci", "dense", "merged")) {
            Response refused = export("small:rotten@1", format);
            assertThat(refused.statusCode()).as(format).isEqualTo(500);
            assertThat(Api.error(refused, "code")).as(format).isEqualTo("corrupt_delta");
        }
    }

    @Test
    void another_tenants_delta_and_an_unknown_one_are_not_there() {
        publish("private");
        Response theirs = bob().get("/v1/deltas/small:private/export");
        Response nobodys = bob().get("/v1/deltas/small:nothing/export");
        assertThat(theirs.statusCode()).isEqualTo(404);
        assertThat(theirs.asString().replace("private", "nothing")).isEqualTo(nobodys.asString());
    }

    @Test
    void wrong_formats_and_bases_are_refused_with_what_to_ask_for() {
        assertThat(Api.error(export("small:x", "zip"), "message")).isEqualTo("the format is 'zip'; it must be delta, dense, merged or oci");
        Response base = export("small", "delta");
        assertThat(base.statusCode()).isEqualTo(400);
        assertThat(Api.error(base, "message")).isEqualTo("'small' is a base; export a fine-tune, base:task or base:task@version");
        assertThat(Api.error(send("format=merged", new byte[1]), "message")).isEqualTo("the format is 'merged'; it must be delta or oci");
    }

    @Test
    void a_damaged_file_is_the_senders_fault_and_leaves_nothing() {
        publish("sound");
        byte[] bytes = export("small:sound", "delta").asByteArray();
        bytes[bytes.length - 9] ^= 4;
        Response refused = send("format=delta&model=small:damaged", bytes);
        assertThat(refused.statusCode()).as(refused.asString()).isEqualTo(400);
        // Whether the decoder sees it or the digest does is up to the bits.
        assertThat(Api.error(refused, "message")).matches("the file: (the blocks of )?model\\.layers\\..*");
        assertThat(Api.error(send("format=oci", Arrays.copyOf(bytes, 1000)), "message")).startsWith("the archive has a header at byte 0");
        assertThat(Api.error(send("format=delta", new byte[3]), "message")).startsWith("the file is 3 bytes");
        assertThat(alice().get("/v1/deltas").jsonPath().getList("data.task", String.class)).doesNotContain("damaged");
        Response elsewhere = send("model=inlay-tiny:sound", export("small:sound", "delta").asByteArray());
        assertThat(elsewhere.statusCode()).isEqualTo(409);
        assertThat(Api.error(elsewhere, "code")).isEqualTo("base_mismatch");
    }

    @Test
    void a_file_over_the_limit_is_refused_with_the_setting_that_raises_it() {
        Response large = send("format=delta", new byte[TestServer.MAX_IMPORT + 1]);
        assertThat(large.statusCode()).isEqualTo(413);
        assertThat(Api.error(large, "message")).isEqualTo("the file is larger than " + TestServer.MAX_IMPORT
                + " bytes; the server's operator can raise inlay.imports.max-bytes");
    }
}
