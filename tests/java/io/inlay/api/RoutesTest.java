package io.inlay.api;

import static io.restassured.RestAssured.given;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import io.restassured.specification.RequestSpecification;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Walks every route of the server with every role and with no key. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class RoutesTest {

    private static final String NOBODYS = "x-nothing";

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    /** What the server says it has: the type of each operation's body by method and path; empty for none. */
    private static Map<String, String> served() throws IOException {
        JsonNode paths = new ObjectMapper().readTree(given().queryParam("format", "json").get("/q/openapi").asString()).path("paths");
        Map<String, String> routes = new TreeMap<>();
        paths.properties().forEach(path -> path.getValue().properties().forEach(operation -> {
            if (operation.getValue().has("responses")) {
                var types = operation.getValue().path("requestBody").path("content").fieldNames();
                routes.put(operation.getKey().toUpperCase(Locale.ROOT) + " " + path.getKey(), types.hasNext() ? types.next() : "");
            }
        }));
        return routes;
    }

    private static Response call(RequestSpecification who, String route, String type) {
        String[] parts = route.split(" ");
        RequestSpecification request = who;
        if (type.startsWith("multipart/")) {
            request = who.multiPart("nothing", "nothing");
        } else if (!type.isEmpty()) {
            request = who.contentType(type).body("{}".getBytes(StandardCharsets.US_ASCII));
        }
        return request.request(parts[0], parts[1].replaceAll("\\{[^}]*}", NOBODYS));
    }

    @Test
    void every_route_is_in_the_matrix_and_every_line_of_it_is_a_route() throws IOException {
        assertThat(served().keySet()).as("routes of /q/openapi; write what is new into routes.txt").hasSizeGreaterThan(20)
                .isEqualTo(new TreeSet<>(Routes.expected().keySet()));
    }

    @Test
    void every_role_gets_what_the_matrix_gives_it_and_nothing_else() throws IOException {
        Map<String, String> keys = Map.of("admin", TestServer.ADMIN, "owner", TestServer.ALICE, "reader", Api.newKey("alice", "reader"));
        Map<String, String> served = served();
        for (Map.Entry<String, Routes> route : Routes.expected().entrySet()) {
            String type = served.get(route.getKey());
            Response nobody = call(given(), route.getKey(), type);
            assertThat(nobody.statusCode()).as("%s without a key", route.getKey()).isEqualTo(401);
            for (Map.Entry<String, String> key : keys.entrySet()) {
                Response answer = call(given().header("Authorization", "Bearer " + key.getValue()), route.getKey(), type);
                String what = route.getKey() + " as " + key.getKey() + ": " + answer.asString();
                if (route.getValue().roles().contains(key.getKey())) {
                    assertThat(answer.statusCode()).as(what).isNotIn(401, 403, 405, 415).isLessThan(500);
                } else {
                    assertThat(answer.statusCode()).as(what).isEqualTo(403);
                    assertThat(Api.error(answer, "code")).isEqualTo("permission_denied");
                    assertThat(Api.error(answer, "type")).isEqualTo("permission_error");
                    assertThat(Api.error(answer, "message")).isEqualTo("this needs a key with the role "
                            + (route.getValue().roles().size() == 2
                            ? "owner or reader" : route.getValue().roles().iterator().next()) + ", and yours has the role " + key.getKey()
                            + "; ask the server's operator for another");
                }
            }
        }
    }

    @Test
    void a_method_that_declares_no_role_is_for_nobody() {
        for (String key : List.of(TestServer.ADMIN, TestServer.ALICE)) {
            Response answer = Api.with(key).get("/v1/undeclared");
            assertThat(answer.statusCode()).isEqualTo(403);
            assertThat(Api.error(answer, "message")).isEqualTo("this server lets nobody call this; tell its operator");
        }
        assertThat(given().get("/v1/undeclared").statusCode()).isEqualTo(401);
    }

    @Test
    void without_a_key_a_route_that_is_not_there_looks_like_one_that_is() {
        String there = given().get("/v1/models").asString();
        for (String path : new String[] {"/v1/nothing", "/v1", "/v1/admin/tenants", "/v1/admin/nothing", "/nothing", "//v1/models",
                "/v1//models",
            "/v1/models/", "/V1/models", "/%761/models", "/v1/models;a=b", "/v1/../v1/models"}) {
            Response answer = given().urlEncodingEnabled(false).get(path);
            assertThat(answer.statusCode()).as(path).isEqualTo(401);
            assertThat(answer.asString()).as(path).isEqualTo(there);
        }
        assertThat(given().delete("/v1/completions").asString()).isEqualTo(there);
        assertThat(given().contentType("text/plain").body("x").post("/v1/completions").asString()).isEqualTo(there);
    }
}
