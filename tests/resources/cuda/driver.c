/*
 * A driver and a libtorch for CUDA without hardware, for tests of what Inlay does with them: versions, devices and memory are what the
 * compiler is told (-DDRIVER, -DRUNTIME, -DDEVICES). Copies are made as late as CUDA may make them: not when they are asked for, but when
 * somebody waits, so that a buffer that is filled again too early shows. A copy is refused on a stream that was not told to wait for what
 * the device computes since somebody last waited for copies, and from the one on that the compiler is told (-DREFUSED).
 */
#include <stdlib.h>
#include <string.h>

#define MOST 1024
#define COMPUTES ((void *) 7L) /* libtorch's stream */
#ifndef REFUSED
#define REFUSED -1
#endif

struct event { long copies; void *stream; };

static struct { void *to; const void *from; size_t bytes; } copies[MOST];
static long asked, made;
static int ordered;               /* whether copies come after what the device computes */
static long waits, hindrances;    /* of copies for the computing stream; of the computing stream for anything */

static void make(long until) {
    if (made < until) {
        ordered = ordered && until < asked;
    }
    for (; made < until; made++) {
        memcpy(copies[made % MOST].to, copies[made % MOST].from, copies[made % MOST].bytes);
    }
}

int cuInit(unsigned flags) { return flags ? 1 : START; }
int cuGetErrorString(int error, const char **text) { *text = error == 100 ? "no CUDA-capable device is detected" : 0; return 0; }
int cuDriverGetVersion(int *version) { *version = DRIVER; return 0; }
int cuDeviceGetCount(int *count) { *count = DEVICES; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 10 + ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, device == 10 ? "Test GPU A" : "Test GPU B", length); return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *) (long) (100 + device); return 0; }
int cuCtxSetCurrent(void *context) { return context ? 0 : 1; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = 3000000; *total = 8000000; return 0; }
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) { *memory = malloc(bytes); return flags || !*memory; }
int cuMemFreeHost(void *memory) { free(memory); return 0; }
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *stream) {
    if (asked - made == MOST || !stream || stream == COMPUTES || !ordered || asked == REFUSED) {
        return 1;
    }
    copies[asked % MOST].to = (void *) to;
    copies[asked % MOST].from = from;
    copies[asked % MOST].bytes = bytes;
    asked++;
    return 0;
}
int cuStreamCreate(void **stream, unsigned flags) { *stream = malloc(1); return flags != 1; }
int cuStreamDestroy_v2(void *stream) { free(stream); return 0; }
int cuStreamSynchronize(void *stream) { make(asked); return !stream; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    hindrances += stream == COMPUTES;
    if (stream && event && ((struct event *) event)->stream == COMPUTES) {
        ordered = 1;
        waits++;
    }
    return !stream || !event || flags;
}
int cuEventCreate(void **event, unsigned flags) { *event = calloc(1, sizeof(struct event)); return flags != 3; }
int cuEventRecord(void *event, void *stream) { *(struct event *) event = (struct event) {asked, stream}; return 0; }
int cuEventSynchronize(void *event) { make(((struct event *) event)->copies); return 0; }
int cuEventDestroy_v2(void *event) { free(event); return 0; }

/* What of libtorch's and the runtime's symbols is looked for. */
int cudaRuntimeGetVersion(int *version) { *version = RUNTIME; return 0; }
int aoti_torch_cuda_mm_out(void *out, void *a, void *b) { return 0; }
#ifndef WITHOUT_ADDMM
int aoti_torch_cuda_addmm_out(void *out, void *self, void *a, void *b, double beta, double alpha) { return 0; }
#endif
int aoti_torch_get_current_cuda_stream(int device, void **stream) { *stream = COMPUTES; return 0; }

/* What tests ask. */
long copies_under_way(void) { return asked - made; }
long waits_for_computing(void) { return waits; }
long hindrances_of_computing(void) { return hindrances; }
