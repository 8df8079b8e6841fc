package io.inlay.kernels;

import java.lang.ref.Cleaner;
import java.util.Collections;
import java.util.Map;
import java.util.WeakHashMap;

/** Tile tables on the device: each is copied there at its first use, and its copy goes with it. */
final class CudaTables {

    private static final Cleaner CLEANER = Cleaner.create();

    private final CudaLauncher launcher;
    private final Map<TileTable, Long> copies = Collections.synchronizedMap(new WeakHashMap<>());

    CudaTables(CudaLauncher launcher) {
        this.launcher = launcher;
    }

    /** Where the device has the table's pointers; 0 for no table. */
    long address(TileTable tiles) {
        return tiles == null ? 0 : copies.computeIfAbsent(tiles, this::copy);
    }

    private long copy(TileTable tiles) {
        CudaLauncher from = launcher;
        long address = from.copyOf(tiles.pointers()).address();
        CLEANER.register(tiles, () -> from.free(address));
        return address;
    }
}
