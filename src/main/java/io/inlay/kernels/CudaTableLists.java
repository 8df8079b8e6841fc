package io.inlay.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongConsumer;

/**
 * Lists of tile tables on the device, a table for each row of a batch. A list is copied at its first use and found by its contents from
 * then on: the linears of a batch copy theirs in the first step alone. When all room is taken, the lists are forgotten and it begins anew.
 */
final class CudaTableLists {

    private static final int ALIGNMENT = 16;

    private final GraphedLauncher launcher;
    private final CudaTables tables;
    private final int bytes;
    private final Map<ByteBuffer, Integer> offsets = new HashMap<>();
    private DeviceBuffer copies;
    private int taken;

    /** @param bytes for all lists; one of M rows takes 12 M of them */
    CudaTableLists(GraphedLauncher launcher, CudaTables tables, int bytes) {
        this.launcher = launcher;
        this.tables = tables;
        this.bytes = bytes;
    }

    /**
     * Calls with the address of a list, which the device has for what is launched in the call: addresses of tables [M], 0 for none, then
     * their edges as ints [M].
     *
     * @param tiles one at least, null for the base alone
     */
    void with(List<TileTable> tiles, LongConsumer launches) {
        int rows = tiles.size();
        ByteBuffer list = ByteBuffer.allocate(12 * rows).order(ByteOrder.nativeOrder());
        for (int m = 0; m < rows; m++) {
            list.putLong(8 * m, tables.address(tiles.get(m)));
            list.putInt(8 * rows + 4 * m, tiles.get(m) == null ? 0 : tiles.get(m).edge());
        }
        // No other list may take this one's place before these launches.
        synchronized (launcher) {
            Integer found = offsets.get(list);
            int offset = found == null ? copy(list) : found;
            launches.accept(copies.address() + offset);
        }
    }

    private int copy(ByteBuffer list) {
        if (list.capacity() > bytes) {
            throw new IllegalArgumentException("a list of " + list.capacity() + " bytes does not fit into " + bytes);
        }
        if (copies == null) {
            copies = launcher.buffer(bytes);
        }
        if (taken > bytes - list.capacity()) {
            offsets.clear();
            taken = 0;
        }
        int offset = taken;
        try (Arena arena = Arena.ofConfined()) {
            launcher.upload(arena.allocateFrom(ValueLayout.JAVA_BYTE, list.array()), copies.address() + offset);
        }
        offsets.put(list, offset);
        taken += Math.ceilDiv(list.capacity(), ALIGNMENT) * ALIGNMENT;
        return offset;
    }
}
