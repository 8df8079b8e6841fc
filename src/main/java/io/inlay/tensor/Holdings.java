package io.inlay.tensor;

import java.util.Comparator;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * Bytes that are held on devices, by what they are for: what tells a user, whose device is full, who fills it. Memory of the CPU is not
 * counted here, where much of it is mapped files. Thread-safe.
 */
final class Holdings {

    private final Map<Device, Map<String, Long>> bytes = new HashMap<>();
    private final Map<Device, Long> now = new HashMap<>();
    private final Map<Device, Long> most = new HashMap<>();

    synchronized void add(Device device, String purpose, long more) {
        bytes.computeIfAbsent(device, _ -> new HashMap<>()).merge(purpose, more, (old, added) -> old + added == 0 ? null : old + added);
        most.merge(device, now.merge(device, more, Long::sum), Math::max);
    }

    synchronized Map<String, Long> on(Device device) {
        return new TreeMap<>(bytes.getOrDefault(device, Map.of()));
    }

    /**
     * Bytes that were held once and are not now. libtorch keeps them for its next tensors and gives none back to the driver, to whom they
     * are taken.
     */
    synchronized long givenBack(Device device) {
        return most.getOrDefault(device, 0L) - now.getOrDefault(device, 0L);
    }

    /** {@code 1,024 for weights of tiny, 512 for scratch}, the most first. */
    String told(Device device) {
        Map<String, Long> here = on(device);
        return here.isEmpty() ? "nothing" : here.entrySet().stream().sorted(Map.Entry.comparingByValue(Comparator.reverseOrder()))
                .map(each -> String.format(Locale.ROOT, "%,d for %s", each.getValue(), each.getKey())).collect(Collectors.joining(", "));
    }
}
