package io.inlay.generation;

import java.util.List;

/**
 * Watches a growing text for stop strings. What could still become one is held back; what stands before one is let out, the stop string
 * itself and what follows never. The stop string that is complete first ends the text, the longest where several end at the same
 * character: so the answer does not depend on how tokens cut the text. Confined to one request.
 */
final class StopStrings {

    private final List<String> stops;
    private final StringBuilder held = new StringBuilder();
    private boolean hit;

    StopStrings(List<String> stops) {
        this.stops = List.copyOf(stops);
    }

    /** Adds text; returns what may be shown now. */
    String accept(String text) {
        if (hit) {
            return "";
        }
        if (stops.isEmpty()) {
            return text;
        }
        for (int i = 0; i < text.length(); i++) {
            held.append(text.charAt(i));
            int matched = completed();
            if (matched > 0) {
                hit = true;
                held.setLength(held.length() - matched);
                return take(held.length());
            }
        }
        return take(held.length() - beginning());
    }

    /** The length of the longest stop string with which the held text ends; 0 for none. */
    private int completed() {
        int longest = 0;
        for (String stop : stops) {
            if (stop.length() > longest && endsWith(stop, stop.length())) {
                longest = stop.length();
            }
        }
        return longest;
    }

    /** The length of the longest end of the held text that begins a stop string. */
    private int beginning() {
        int longest = 0;
        for (String stop : stops) {
            for (int length = Math.min(stop.length() - 1, held.length()); length > longest; length--) {
                if (endsWith(stop, length)) {
                    longest = length;
                }
            }
        }
        return longest;
    }

    /** Whether the held text ends with the first {@code length} characters of a stop string. */
    private boolean endsWith(String stop, int length) {
        int start = held.length() - length;
        if (start < 0) {
            return false;
        }
        for (int i = 0; i < length; i++) {
            if (held.charAt(start + i) != stop.charAt(i)) {
                return false;
            }
        }
        return true;
    }

    private String take(int length) {
        String shown = held.substring(0, length);
        held.delete(0, length);
        return shown;
    }

    /** Whether a stop string is complete. */
    boolean hit() {
        return hit;
    }

    /** At the end of the text: what was held back for nothing. */
    String finish() {
        return take(held.length());
    }
}
