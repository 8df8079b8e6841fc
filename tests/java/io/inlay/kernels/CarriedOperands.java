package io.inlay.kernels;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * The arguments of one call of {@link Kernels}, whose memory is the host's, in the memory of a device. All that can matter to a kernel is
 * there what it is here: strides and the gaps between rows, what operands share, and how addresses stand to multiples of {@value #LINE}.
 * Tensors and pages of caches come back, blocks of tile tables are only read; numbers, coordinates and int8 weights, which no device has
 * kernels for, are left as they are.
 */
final class CarriedOperands {

    /** Bytes; a device's memory begins at a multiple of it. */
    private static final int LINE = 64;

    /** Stands before and behind all that is carried: elements of it are NaN, and what a kernel writes there shows. */
    private static final byte BESIDE = (byte) 0xff;

    /** Memory of the host, from an address until another, with elements of one type. */
    private record Span(long from, long until, DType type) {

        static Span of(long address, long bytes, DType type) {
            return new Span(address, address + bytes, type);
        }

        MemorySegment memory() {
            return MemorySegment.ofAddress(from).reinterpret(until - from);
        }
    }

    /**
     * A span in the device's memory.
     *
     * @param image what was carried there, as one row on the host
     * @param there the same on the device
     */
    private record Region(Span span, Tensor image, Tensor there) {

        /** Bytes from the region's begin to what the host has at an address. */
        long at(long address) {
            return span.from % LINE + address - span.from;
        }

        MemorySegment span(MemorySegment row) {
            return row.asSlice(at(span.from), span.until - span.from);
        }
    }

    private final Scope scope;
    private final Device device;
    private final Object[] here;
    private final TreeMap<Long, Region> regions = new TreeMap<>();
    private final Map<TileTable, TileTable> tables = new IdentityHashMap<>();

    CarriedOperands(Scope scope, Device device, Object[] arguments) {
        this.scope = scope;
        this.device = device;
        this.here = arguments;
        List<Span> spans = new ArrayList<>();
        for (Object each : arguments) {
            collect(each, spans);
        }
        spans.sort(Comparator.comparingLong(Span::from));
        for (int i = 0; i < spans.size();) {
            Span merged = spans.get(i++);
            while (i < spans.size() && spans.get(i).from < merged.until) {
                Span next = spans.get(i++);
                if (next.type != merged.type) {
                    throw new AssertionError("elements of " + merged.type + " and of " + next.type + " share memory");
                }
                merged = new Span(merged.from, Math.max(merged.until, next.until), merged.type);
            }
            regions.put(merged.from, carried(merged));
        }
    }

    /** The arguments over the device's memory. */
    Object[] there() {
        return Arrays.stream(here).map(this::there).toArray();
    }

    /**
     * Copies back what is no longer what was carried. The rest stays untouched, since others may be reading it.
     *
     * @throws AssertionError when memory beside the operands has changed
     */
    void bringBack() {
        for (Region region : regions.values()) {
            MemorySegment before = region.image.segment();
            MemorySegment after = scope.copyTo(region.there, region.span.type, Device.CPU).segment();
            if (before.mismatch(after) < 0) {
                continue;
            }
            region.span(before).copyFrom(region.span(after));
            long outside = before.mismatch(after);
            if (outside >= 0) {
                throw new AssertionError("a kernel of " + device + " wrote " + (outside - region.at(region.span.from)) + " bytes from the "
                        + "start of an operand of " + (region.span.until - region.span.from));
            }
            region.span.memory().copyFrom(region.span(after));
        }
    }

    // ---- to the device ----

    private static void collect(Object argument, List<Span> spans) {
        switch (argument) {
            case null -> {
                // an operand that may be missing
            }
            case Tensor tensor -> {
                if (tensor.elements() > 0) {
                    spans.add(Span.of(tensor.address(), tensor.segment().byteSize(), tensor.dtype()));
                }
            }
            case KvPages cache -> {
                for (int p = 0; p < pages(cache); p++) {
                    spans.add(Span.of(page(cache, p) + begin(cache), bytes(cache), cache.type()));
                }
            }
            case List<?> list -> list.forEach(each -> collect(each, spans));
            default -> {
                // copied by there(), or left as it is
            }
        }
    }

    private Region carried(Span span) {
        long before = span.from % LINE;
        Tensor image = scope.empty(span.type, Device.CPU, (before + span.until - span.from + LINE) / span.type.bytes());
        image.segment().fill(BESIDE).asSlice(before).copyFrom(span.memory());
        return new Region(span, image, scope.copyTo(image, span.type, device));
    }

    // ---- arguments there ----

    private Object there(Object argument) {
        return switch (argument) {
            case null -> null;
            case Tensor tensor -> tensor(tensor);
            case TileTable tiles -> tables.computeIfAbsent(tiles, this::table);
            case KvPages cache -> cache(cache);
            case List<?> list -> list.stream().map(this::there).toList();
            default -> argument;
        };
    }

    private Tensor tensor(Tensor tensor) {
        if (tensor.elements() == 0) {
            return scope.empty(tensor.dtype(), device, tensor.sizes());
        }
        Region region = region(tensor.address());
        return region.there.strided(scope, tensor.sizes(), tensor.strides(), region.at(tensor.address()) / tensor.dtype().bytes());
    }

    private Region region(long address) {
        return regions.floorEntry(address).getValue();
    }

    /** With blocks beside each other in an order of their own, as a table's maker may leave them. */
    private TileTable table(TileTable tiles) {
        List<BlockCoordinate> places = new ArrayList<>();
        for (int row = 0; row < tiles.rows() / tiles.edge(); row++) {
            for (int column = 0; column < tiles.columns() / tiles.edge(); column++) {
                if (tiles.pointer(row, column) != 0) {
                    places.add(new BlockCoordinate(row, column));
                }
            }
        }
        DType type = tiles.elementBytes() == DType.BF16.bytes() ? DType.BF16 : DType.FP32;
        long square = (long) tiles.edge() * tiles.edge();
        long before = places.stream().mapToLong(at -> tiles.pointer(at.row(), at.column())).min().orElse(0) % LINE / type.bytes();
        Tensor image = scope.empty(type, Device.CPU, before + square * places.size());
        for (int k = 0; k < places.size(); k++) {
            Span block = Span.of(tiles.pointer(places.get(k).row(), places.get(k).column()), square * type.bytes(), type);
            image.segment().asSlice((before + k * square) * type.bytes()).copyFrom(block.memory());
        }
        Tensor values = scope.copyTo(image, type, device).narrow(scope, 0, before, square * places.size());
        return TileTable.of(Arena.ofAuto(), tiles.rows(), tiles.columns(), tiles.edge(), places, values);
    }

    private KvPages cache(KvPages cache) {
        MemorySegment addresses = Arena.ofAuto().allocate(ValueLayout.JAVA_LONG, pages(cache));
        for (int p = 0; p < pages(cache); p++) {
            long first = page(cache, p) + begin(cache);
            Region region = region(first);
            addresses.setAtIndex(ValueLayout.JAVA_LONG, p, region.there.address() + region.at(first) - begin(cache));
        }
        return new KvPages(addresses, cache.length(), cache.keyOffset(), cache.valueOffset(), cache.groups(), cache.dim(), cache.type());
    }

    // ---- pages ----

    private static int pages(KvPages cache) {
        return Math.ceilDiv(cache.length(), KvPages.PAGE);
    }

    private static long page(KvPages cache, int number) {
        return cache.addresses().getAtIndex(ValueLayout.JAVA_LONG, number);
    }

    /** From a page's address to what the cache has of it, keys and values and what lies between. */
    private static long begin(KvPages cache) {
        return Math.min(cache.keyOffset(), cache.valueOffset());
    }

    private static long bytes(KvPages cache) {
        long half = (long) cache.groups() * KvPages.PAGE * cache.dim() * cache.type().bytes();
        return Math.abs(cache.valueOffset() - cache.keyOffset()) + half;
    }
}
