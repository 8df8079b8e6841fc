// Where keys and values lie in pages (causal_attention.cu, causal_gradient.cu, paged_attention.cu, rope.cu).
#pragma once

// Positions in a page: io.inlay.kernels.KvPages.PAGE.
#define PAGE 16

// A head's row [dim] at a position, of keys or values that begin `offset` bytes into their pages.
template <typename T>
__device__ __forceinline__ T* row_in_pages(const unsigned long long* pages, long long offset, int head, int position, int dim) {
    char* page = reinterpret_cast<char*>(pages[position / PAGE]) + offset;
    return reinterpret_cast<T*>(page) + static_cast<long long>(head * PAGE + position % PAGE) * dim;
}
