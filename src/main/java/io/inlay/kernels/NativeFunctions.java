package io.inlay.kernels;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The functions that kernels/cpu exports. A signature is spelled with one letter per argument, in the order of the C declaration: p
 * pointer, l long, i int, f float.
 */
record NativeFunctions(MethodHandle start, MethodHandle embed, MethodHandle embedBackward, MethodHandle rmsNorm,
        MethodHandle rmsNormBackward, MethodHandle rope, MethodHandle swiGlu, MethodHandle swiGluBackward, MethodHandle crossEntropy,
        MethodHandle adamW, MethodHandle add, MethodHandle sumOfSquares, MethodHandle blockMeans, MethodHandle linear,
        MethodHandle linearMixed, MethodHandle product, NativeInt8 int8, NativeDraws draws, MethodHandle assemble,
        MethodHandle decodeAttention, MethodHandle pagedAttention, MethodHandle causalAttention,
        MethodHandle pagedCausalAttention, MethodHandle causalAttentionBackward) {

    private static final String DRAW = "plpplli";

    static NativeFunctions bind(SymbolLookup symbols) {
        return new NativeFunctions(
                handle(symbols, ValueLayout.JAVA_INT, "inlay_start", "i"),
                handle(symbols, null, "inlay_embed", "plppllli"),
                handle(symbols, null, "inlay_embed_backward", "plppllli"),
                handle(symbols, null, "inlay_rms_norm", "plplplpfplplli"),
                handle(symbols, null, "inlay_rms_norm_backward", "plplppplplli"),
                handle(symbols, null, "inlay_rope", "pllplpillli"),
                handle(symbols, null, "inlay_swiglu", "plplpllli"),
                handle(symbols, null, "inlay_swiglu_backward", "plplplplpllli"),
                handle(symbols, null, "inlay_cross_entropy", "plpfiplli"),
                handle(symbols, null, "inlay_adamw", "ppppplfffffffffii"),
                handle(symbols, null, "inlay_add", "plplllii"),
                handle(symbols, ValueLayout.JAVA_DOUBLE, "inlay_sum_of_squares", "pllli"),
                handle(symbols, null, "inlay_block_means", "pllplllii"),
                handle(symbols, null, "inlay_linear", "plplplpllllii"),
                handle(symbols, null, "inlay_linear_mixed", "plplpplplllli"),
                handle(symbols, null, "inlay_product", "pllpllpllll" + "iii"),
                new NativeInt8(handle(symbols, null, "inlay_linear_int8", "plplppplplllli" + "i"),
                        handle(symbols, null, "inlay_dequantise", "plpplpllli")),
                new NativeDraws(handle(symbols, null, "inlay_draw", DRAW),
                        handle(symbols, null, "inlay_draw", DRAW, Linker.Option.critical(true))),
                handle(symbols, null, "inlay_assemble", "plplpllli"),
                handle(symbols, null, "inlay_decode_attention", "plpllpllplllllfi"),
                handle(symbols, null, "inlay_paged_attention", "pllppllpllllllfi"),
                handle(symbols, null, "inlay_causal_attention", "pllpllpllplfpllplllli"),
                handle(symbols, null, "inlay_paged_causal_attention", "pllplllfpllllll" + "i"),
                handle(symbols, null, "inlay_causal_attention_backward", "ppppppplfppppllll" + "i"));
    }

    private static MethodHandle handle(SymbolLookup symbols, MemoryLayout result, String name, String arguments, Linker.Option... options) {
        MemoryLayout[] layouts = arguments.chars().mapToObj(letter -> switch (letter) {
            case 'p' -> ValueLayout.ADDRESS;
            case 'l' -> ValueLayout.JAVA_LONG;
            case 'i' -> ValueLayout.JAVA_INT;
            case 'f' -> ValueLayout.JAVA_FLOAT;
            default -> throw new IllegalArgumentException("no argument is spelled " + (char) letter);
        }).toArray(MemoryLayout[]::new);
        FunctionDescriptor descriptor = result == null ? FunctionDescriptor.ofVoid(layouts) : FunctionDescriptor.of(result, layouts);
        return Linker.nativeLinker().downcallHandle(symbols.findOrThrow(name), descriptor, options);
    }
}
