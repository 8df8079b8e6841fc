package io.inlay.access;

import io.inlay.Problem;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Keys that settings give: the operator's, with which a new server is set up, and those of tenants, whose owners they are.
 *
 * @param tenants each tenant's keys, by its name
 */
public record ConfiguredKeys(List<String> admin, Map<String, List<String>> tenants) {

    private static final int SHORTEST_ADMIN_KEY = 32;

    public ConfiguredKeys {
        admin = List.copyOf(admin);
        tenants = Map.copyOf(tenants);
        for (String key : admin) {
            if (key.length() < SHORTEST_ADMIN_KEY) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.access.admin-keys has a key of fewer than " + SHORTEST_ADMIN_KEY
                        + " characters, which somebody might guess; make one with: openssl rand -hex 32");
            }
        }
        tenants.keySet().forEach(name -> Names.require("inlay.tenants has a tenant whose", name));
    }

    /** A key and whose it is. */
    record Owned(String text, Principal principal) {
    }

    List<Owned> all() {
        List<Owned> all = new ArrayList<>();
        for (int i = 0; i < admin.size(); i++) {
            all.add(new Owned(admin.get(i), new Principal("configured:admin:" + (i + 1), Role.ADMIN, Optional.empty())));
        }
        tenants.forEach((tenant, keys) -> {
            for (int i = 0; i < keys.size(); i++) {
                all.add(new Owned(keys.get(i), new Principal("configured:" + tenant + ":" + (i + 1), Role.OWNER, Optional.of(tenant))));
            }
        });
        Map<String, Principal> owners = new HashMap<>();
        for (Owned each : all) {
            Principal other = owners.putIfAbsent(each.text(), each.principal());
            if (other != null && !other.tenant().equals(each.principal().tenant())) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "the keys " + other.key() + " and " + each.principal().key()
                        + " of the settings are the same; give each owner keys of its own");
            }
        }
        return all;
    }

    /** Never the keys. */
    @Override
    public String toString() {
        return "ConfiguredKeys[" + admin.size() + " of operators, tenants " + tenants.keySet() + "]";
    }
}
