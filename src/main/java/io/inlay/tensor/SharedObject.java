package io.inlay.tensor;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/** A shared library that stays loaded, and the loader's own words where it cannot be, which {@link SymbolLookup} keeps to itself. Linux. */
record SharedObject(String file, MemorySegment handle) {

    /** dlfcn.h. */
    private static final int RTLD_NOW = 0x2;
    private static final int RTLD_GLOBAL = 0x100;

    private static final MethodHandle OPEN = function("dlopen", FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_INT));
    private static final MethodHandle SYMBOL = function("dlsym", FunctionDescriptor.of(ADDRESS, ADDRESS, ADDRESS));
    private static final MethodHandle ERROR = function("dlerror", FunctionDescriptor.of(ADDRESS));

    private static MethodHandle function(String name, FunctionDescriptor descriptor) {
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), descriptor);
    }

    /**
     * Loads a file by its path, or by its name from where the system looks, for oneself.
     *
     * @throws IOException with the loader's words
     */
    static SharedObject open(String file) throws IOException {
        return open(file, RTLD_NOW);
    }

    /** Loads a file whose symbols are seen by libraries that are loaded after it, as libtorch's parts expect of each other. */
    static SharedObject openForAll(String file) throws IOException {
        return open(file, RTLD_NOW | RTLD_GLOBAL);
    }

    private static SharedObject open(String file, int mode) throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment handle = (MemorySegment) OPEN.invokeExact(arena.allocateFrom(file), mode);
            if (handle.address() == 0) {
                MemorySegment words = (MemorySegment) ERROR.invokeExact();
                throw new IOException(words.address() == 0 ? file + " cannot be loaded" : words.reinterpret(Long.MAX_VALUE).getString(0));
            }
            return new SharedObject(file, handle);
        } catch (IOException refused) {
            throw refused;
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    /** Its symbols and those of the libraries that it was linked with. */
    SymbolLookup symbols() {
        return this::find;
    }

    private Optional<MemorySegment> find(String symbol) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment found = (MemorySegment) SYMBOL.invokeExact(handle, arena.allocateFrom(symbol));
            return found.address() == 0 ? Optional.empty() : Optional.of(found);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }
}
