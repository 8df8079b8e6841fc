package io.inlay.api;

import static io.inlay.api.Api.admin;
import static io.inlay.api.Api.json;
import static io.inlay.api.Api.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.path.json.JsonPath;
import io.restassured.response.Response;
import jakarta.inject.Inject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.sql.DataSource;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A tenant with everything that one can have, deleted over the interface while a job of it runs. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class TenantDeletionTest {

    @Inject
    DataSource database;

    @ConfigProperty(name = "inlay.data")
    Path data;

    @ConfigProperty(name = "inlay.store")
    Path store;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static String tune(String key, String file, String task, int steps) {
        Response made = Api.tryTune(with(key), Map.of("model", "small", "training_file", file, "suffix", task, "method",
                Api.smt(Map.of("max_steps", steps, "warm_up_steps", 1, "budget", 0.1))));
        assertThat(made.statusCode()).as(made.asString()).isEqualTo(200);
        return made.path("id");
    }

    private static JsonPath tenant(String name) {
        return admin().get("/v1/admin/tenants/" + name).jsonPath();
    }

    private long count(String sql) throws SQLException {
        try (var connection = database.getConnection(); var statement = connection.createStatement();
                var rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getLong(1);
        }
    }

    private static long filesUnder(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            return 0;
        }
        try (Stream<Path> all = Files.walk(folder)) {
            return all.filter(Files::isRegularFile).count();
        }
    }

    @Test
    void a_deleted_tenants_jobs_files_versions_and_aliases_are_erased_and_the_receipt_says_so() throws Exception {
        json(admin(), Map.of("name", "frank")).post("/v1/admin/tenants").then().statusCode(200);
        assertThat(tenant("frank").getMap("$")).doesNotContainKey("erasure");
        String key = Api.newKey("frank", "owner");
        String file = Api.upload(with(key), FineTuningTest.DATA);
        assertThat(Api.awaitEnd(() -> with(key), tune(key, file, "kept", 1)).getString("status")).isEqualTo("succeeded");
        json(with(key), Map.of("version", 1)).put("/v1/deltas/small:kept/aliases/production").then().statusCode(200);
        json(with(key), Map.of("model", "small:kept@production", "prompt", "sky", "max_tokens", 1)).post("/v1/completions").then()
                .statusCode(200);
        String digest = with(key).get("/v1/deltas/small:kept@1").jsonPath().getString("delta.file_digest");
        String running = tune(key, file, "endless", 15_000);
        await().atMost(Duration.ofMinutes(1)).until(() -> with(key).get("/v1/fine_tuning/jobs/" + running).jsonPath().getString("status")
                .equals("running"));

        Response deleted = admin().delete("/v1/admin/tenants/frank");
        assertThat(deleted.statusCode()).as(deleted.asString()).isEqualTo(200);
        assertThat(deleted.jsonPath().getString("erasure.status")).isIn("under_way", "done");
        await().atMost(Duration.ofMinutes(1)).until(() -> tenant("frank").getString("erasure.status").equals("done"));

        JsonPath receipt = tenant("frank");
        assertThat(receipt.getString("status")).isEqualTo("deletion_requested");
        assertThat(receipt.getInt("erasure.receipt.jobs")).isEqualTo(2);
        assertThat(receipt.getInt("erasure.receipt.files")).isEqualTo(1);
        assertThat(receipt.getInt("erasure.receipt.versions")).isEqualTo(1);
        assertThat(receipt.getList("erasure.receipt.file_digests", String.class)).containsExactly(digest);
        assertThat(with(key).get("/v1/models").statusCode()).isEqualTo(401);
        for (String table : List.of("tuning_job", "training_file", "delta_version", "delta_alias", "delta_alias_move", "delta_lease")) {
            assertThat(count("select count(*) from " + table + " where tenant = 'frank'")).as(table).isZero();
        }
        assertThat(count("select count(*) from job_event where job = '" + running + "'")).isZero();
        assertThat(filesUnder(store.resolve("frank"))).isZero();
        assertThat(filesUnder(data.resolve("files/frank"))).isZero();
        assertThat(filesUnder(data.resolve("checkpoints").resolve(running))).isZero();
        Response again = admin().delete("/v1/admin/tenants/frank");
        assertThat(again.jsonPath().getMap("erasure.receipt")).isEqualTo(receipt.getMap("erasure.receipt"));
    }

    @Test
    void a_tenant_that_is_not_there_cannot_be_deleted() {
        Response missing = admin().delete("/v1/admin/tenants/nobody");
        assertThat(missing.statusCode()).isEqualTo(404);
        assertThat(Api.error(missing, "message")).isEqualTo("there is no tenant 'nobody'; GET /v1/admin/tenants lists them");
    }
}
