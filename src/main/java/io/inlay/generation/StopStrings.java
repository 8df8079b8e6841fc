package io.inlay.generation;

import java.util.List;

/**
 * Watches a growing text for stop strings, across the borders of tokens. What could still become a stop string is held back; what stands
 * before one is let out, the stop string itself never. Confined to one request.
 */
final class StopStrings {

    private final List<String> stops;
    private final StringBuilder held = new StringBuilder();
    private boolean hit;

    StopStrings(List<String> stops) {
        this.stops = stops.stream().filter(stop -> !stop.isEmpty()).toList();
    }

    /** Adds text; returns what may be shown now. */
    String accept(String text) {
        if (hit) {
            return "";
        }
        held.append(text);
        int first = -1;
        for (String stop : stops) {
            int at = held.indexOf(stop);
            if (at >= 0 && (first < 0 || at < first)) {
                first = at;
            }
        }
        if (first >= 0) {
            hit = true;
            return take(first);
        }
        return take(held.length() - possibleBeginning());
    }

    /** The longest end of what is held that begins a stop string. */
    private int possibleBeginning() {
        int longest = 0;
        for (String stop : stops) {
            for (int length = Math.min(stop.length() - 1, held.length()); length > longest; length--) {
                if (stop.startsWith(held.substring(held.length() - length))) {
                    longest = length;
                }
            }
        }
        return longest;
    }

    private String take(int length) {
        String shown = held.substring(0, length);
        held.delete(0, length);
        return shown;
    }

    /** Whether a stop string has appeared. */
    boolean hit() {
        return hit;
    }

    /** At the end of the text: what was held back for nothing. */
    String finish() {
        return hit ? "" : take(held.length());
    }
}
