package io.inlay.generation.grammar;

import java.util.Arrays;
import java.util.BitSet;
import java.util.Collection;

/**
 * Bytes that a grammar never tells apart, as one: what is worked out for one of a class holds for all of it. Immutable.
 */
final class ByteClasses {

    static final int BYTES = 256;

    private final int[] classes = new int[BYTES];
    private final int[] firsts;
    private final ByteSet[] members;

    /** @param sets between whose members and others the grammar tells */
    ByteClasses(Collection<BitSet> sets) {
        int count = 1;
        for (BitSet set : sets) {
            int[] split = new int[count];
            int grown = count;
            int[] inside = new int[count];
            for (int value = 0; value < BYTES; value++) {
                inside[classes[value]] += set.get(value) ? 1 : 0;
                split[classes[value]]++;
            }
            for (int each = 0; each < count; each++) {
                split[each] = inside[each] == 0 || inside[each] == split[each] ? each : grown++;
            }
            for (int value = 0; value < BYTES; value++) {
                if (set.get(value)) {
                    classes[value] = split[classes[value]];
                }
            }
            count = grown;
        }
        this.firsts = new int[count];
        Arrays.fill(firsts, -1);
        this.members = new ByteSet[count];
        Arrays.fill(members, ByteSet.NONE);
        for (int value = BYTES - 1; value >= 0; value--) {
            firsts[classes[value]] = value;
            members[classes[value]] = members[classes[value]].with(value);
        }
    }

    int count() {
        return firsts.length;
    }

    /** The class of a byte. */
    int of(int value) {
        return classes[value];
    }

    /** The class's bytes. */
    ByteSet bytes(int number) {
        return members[number];
    }

    /** The class's least byte. */
    int first(int number) {
        return firsts[number];
    }
}
