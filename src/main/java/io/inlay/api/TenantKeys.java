package io.inlay.api;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** API keys and whose they are. Holds digests only, and compares each of them in constant time. */
public final class TenantKeys {

    private record Key(byte[] digest, String tenant) {
    }

    private final List<Key> keys = new ArrayList<>();

    /**
     * @param keysByTenant every tenant's keys
     */
    public TenantKeys(Map<String, List<String>> keysByTenant) {
        keysByTenant.forEach((tenant, each) -> each.forEach(key -> {
            byte[] digest = digest(key);
            if (keys.stream().anyMatch(other -> MessageDigest.isEqual(other.digest(), digest) && !other.tenant().equals(tenant))) {
                throw new IllegalArgumentException("two tenants have the same API key; " + tenant + " is one of them");
            }
            keys.add(new Key(digest, tenant));
        }));
    }

    Optional<String> tenant(String key) {
        byte[] asked = digest(key);
        String found = null;
        for (Key each : keys) {
            if (MessageDigest.isEqual(each.digest(), asked)) {
                found = each.tenant();
            }
        }
        return Optional.ofNullable(found);
    }

    private static byte[] digest(String key) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(key.getBytes(StandardCharsets.UTF_8));
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every JDK has SHA-256", impossible);
        }
    }
}
