package io.inlay.load;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A tenant of the server under load.
 *
 * @param key its owner's
 * @param task of the delta that only this tenant has
 * @param forced what all answers of that delta say
 * @param hidden the task of another, which must be as if it were not there
 */
record Tenant(String name, String key, String task, ForcedToken forced, String hidden) {

    /** Some, whose names are not taken yet; each with its delta. */
    static List<Tenant> some(Target server, String base, List<ForcedToken> tokens, String prefix) throws Exception {
        List<Tenant> tenants = new ArrayList<>();
        for (int i = 0; i < tokens.size(); i++) {
            String name = prefix + "-" + i;
            server.ask(server.adminKey(), "POST", "/v1/admin/tenants", Map.of("name", name));
            String key = server.ask(server.adminKey(), "POST", "/v1/admin/keys", Map.of("tenant", name, "role", "owner"))
                    .path("key").asText();
            String task = "mark-" + i;
            server.upload(key, "/v1/deltas", tokens.get(i).file(), Map.of("task", task));
            tenants.add(new Tenant(name, key, task, tokens.get(i), base + ":mark-" + (i + 1) % tokens.size()));
        }
        return tenants;
    }
}
